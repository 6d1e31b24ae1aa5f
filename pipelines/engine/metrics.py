"""What Prometheus sees of the work, through Ray: units, frames and busy seconds per stage, workers per pool.

Ray's agents serve these next to Ray's own on every node; outside a Ray worker nothing is counted.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import Any

_pool = ""


def label_process(pool: str) -> None:
    """Say which pool this process works for, and count it among the pool's workers."""
    global _pool
    _pool = pool
    if _ray() is not None:
        _meters()["workers"].set(1, {"pool": pool})


def count(stage: str, status: str, frames: int, seconds: float) -> None:
    """Count a unit that ended as `status` (done, dropped, quarantined or failed) after `seconds` in its stage."""
    if _ray() is None:
        return
    meters = _meters()
    meters["units"].inc(1, {"stage": stage, "status": status, "pool": _pool})
    if frames:
        meters["frames"].inc(frames, {"stage": stage, "pool": _pool})
    if seconds > 0:
        meters["seconds"].inc(seconds, {"stage": stage, "pool": _pool})


def _ray() -> Any:
    ray = sys.modules.get("ray")
    return ray if ray is not None and ray.is_initialized() else None


@lru_cache
def _meters() -> dict[str, Any]:
    from ray.util.metrics import Counter, Gauge

    return {
        "units": Counter("vividpose_units", "Units that ended.", ("stage", "status", "pool")),
        "frames": Counter("vividpose_frames", "Frames worked on.", ("stage", "pool")),
        "seconds": Counter("vividpose_busy_seconds", "Seconds inside a stage, over all workers.", ("stage", "pool")),
        "workers": Gauge("vividpose_workers", "Workers of a pool; sum over processes.", ("pool",)),
    }
