"""SMPLer-X (Cai et al. 2023) in plain PyTorch: SMPL-X parameters of a person in each frame, from the user's weights."""

from .checkpoint import LICENCE
from .estimator import NobodyThere, SmplerX

__all__ = ["LICENCE", "NobodyThere", "SmplerX"]
