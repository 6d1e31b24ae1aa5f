"""What was measured of one pair, as a file: written by the worker that measured it, read when all are in.

Its name stands for the pair's files and the way of measuring, so that a run that was killed goes on with the files that
are there, and one that measures otherwise or other videos takes none of them.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.engine.atomic import digest, write_whole
from pipelines.evaluate.measure import Measured
from pipelines.evaluate.pairs import Pair


def measured_name(how: str, pair: Pair) -> str:
    """The file name for a pair. how: a hash of everything else that the measured values depend on."""
    files = []
    for path in map(Path, (*pair.generated.files, *pair.truth.files)):
        facts = path.stat()
        files.append([str(path.resolve()), facts.st_size, facts.st_mtime_ns])
    return f"{digest([how, pair.name, pair.size, pair.frames, len(pair.generated.files), files])[:32]}.npz"


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
