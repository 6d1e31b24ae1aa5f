"""Weights in and out: random, from the published folders, and our own folder."""

from __future__ import annotations

import torch

from model.config import VividPoseConfig
from model.vividpose import VividPose


def create(config: VividPoseConfig, seed: int) -> VividPose:
    """Random weights: the same for the same seed, and the caller's random numbers are left as they were."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return VividPose(config)
