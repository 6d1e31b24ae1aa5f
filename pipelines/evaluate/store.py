"""What was measured of one pair, as a file: written by the worker that measured it, read when all are in."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.engine.atomic import write_whole
from pipelines.evaluate.measure import Measured


def write_measured(path: Path, measured: Measured) -> None:
    arrays: dict[str, Any] = {f"value/{key}": found for key, found in measured.values.items()}
    for name, (ours, theirs) in measured.features.items():
        arrays |= {f"generated/{name}": ours, f"truth/{name}": theirs}
    head = {"name": measured.name, "frames": measured.frames, "size": list(measured.size)}
    arrays["head"] = np.frombuffer(json.dumps(head).encode(), np.uint8)
    held = io.BytesIO()
    np.savez(held, **arrays)
    write_whole(path, held.getvalue())


def read_measured(path: Path) -> Measured:
    with np.load(path, allow_pickle=False) as held:
        head = json.loads(held["head"].tobytes())
        values = {key.removeprefix("value/"): held[key] for key in held.files if key.startswith("value/")}
        names = [key.removeprefix("generated/") for key in held.files if key.startswith("generated/")]
        features = {name: (held[f"generated/{name}"], held[f"truth/{name}"]) for name in names}
    width, height = head["size"]
    return Measured(head["name"], head["frames"], (width, height), values, features)
