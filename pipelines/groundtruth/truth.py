"""Reading what `make_groundtruth` wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.body.raster import Lighting
from pipelines.demo.rooms import Room
from pipelines.engine.setup_error import SetupError
from pipelines.groundtruth.clips import Clip, Clothes, Performance
from pipelines.groundtruth.make import CLIPS, IDENTITIES, VERSION, Take
from pipelines.groundtruth.motions import Style
from pipelines.groundtruth.people import Features, Person
from pipelines.shard_format import BadSample, unpack_arrays


def read_truth(out: Path) -> dict[str, Any]:
    """`truth/clips.json`. Raises SetupError where there is none, or one that this software does not read."""
    path = out / CLIPS
    try:
        truth = json.loads(path.read_bytes())
        version = truth["version"]
    except FileNotFoundError:
        raise SetupError(f"{path} is not there: make the films with `vividpose groundtruth make {out}`") from None
    except (ValueError, KeyError, TypeError) as error:
        raise SetupError(f"{path} is damaged ({error}): run `vividpose groundtruth make` again") from error
    if version != VERSION:
        raise SetupError(f"{path} has version {version!r}, this software reads {VERSION}: make the films again")
    return truth


def read_identities(out: Path) -> dict[str, NDArray[np.float32]]:
    """The identity code, float32 (512,) of length 1, of each person."""
    path = out / IDENTITIES
    try:
        arrays = unpack_arrays(path.read_bytes(), str(path))
    except (FileNotFoundError, BadSample) as error:
        raise SetupError(f"{path} cannot be read ({error}): run `vividpose groundtruth make` again") from error
    return {str(name): code for name, code in zip(arrays["person"], arrays["code"], strict=True)}


def takes_of(truth: Mapping[str, Any]) -> list[Take]:
    """The people and clips of `read_truth` as they were drawn, to be filmed again or otherwise."""
    people = {row["person"]: _person(row) for row in truth["people"]}
    return [Take(people[row["person"]], _clip(row["drawn"])) for row in truth["clips"]]


def fps_of(truth: Mapping[str, Any]) -> Fraction:
    return Fraction(*truth["settings"]["fps"])


def _person(row: Mapping[str, Any]) -> Person:
    features = Features(**{name: _tuples(value) for name, value in row["features"].items()})
    return Person(row["person"], row["split"], tuple(row["betas"]), row["unusual"], features)


def _clip(row: Mapping[str, Any]) -> Clip:
    done, light = row["performance"], row["lighting"]
    return Clip(
        row["name"],
        row["person"],
        Performance(**{**done, "style": Style(**done["style"])}),
        Clothes(**{name: _tuples(value) for name, value in row["clothes"].items()}),
        Room(**{name: _tuples(value) for name, value in row["room"].items()}),
        row["room_seed"],
        Lighting(light["ambient"], light["head"], _tuples(light["lights"])),
        _tuples(row["light_tint"]),
        row["framing"],
        row["focal"],
    )


def _tuples(value: Any) -> Any:
    """JSON's lists as the tuples that they were."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
