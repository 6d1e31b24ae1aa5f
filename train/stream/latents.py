"""Cached latents: which of them fit, and the numbers of a sample."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from pipelines.latents_format import (
    LISTING,
    PREFIX,
    LatentsIdentity,
    Precision,
    Span,
    header_length,
    latents_name,
    read_header,
)
from pipelines.shard_format import BadSample
from train.stream.dataset import Dataset
from train.stream.settings import ClipSettings
from train.stream.storage import Storage


@dataclass(frozen=True)
class SampleLatents:
    """moments: float16 (T, 2C, h, w). reference: float16 (2C, h, w). embedding: float16 (D,), of the reference."""

    moments: NDArray[np.float16]
    reference: NDArray[np.float16]
    embedding: NDArray[np.float16]


class Latents:
    """The latents of one dataset under one key."""

    def __init__(self, storage: Storage, key: str) -> None:
        self.storage, self.key = storage, key
        self._spans = lru_cache(maxsize=256)(self._read_spans)

    def __getstate__(self) -> tuple[Storage, str]:
        return self.storage, self.key

    def __setstate__(self, state: tuple[Storage, str]) -> None:
        self.__init__(*state)  # type: ignore[misc]

    def _read_spans(self, shard: str) -> dict[str, Span]:
        name = self._file(shard)
        (prefix,) = self.storage.ranges(name, [(0, PREFIX)])
        (header,) = self.storage.ranges(name, [(PREFIX, header_length(prefix, name))])
        return read_header(header, name)

    def _file(self, shard: str) -> str:
        return f"latents/{self.key}/{latents_name(shard)}"

    def read(self, shard: str, sample: str, frames: Sequence[int], reference: int) -> SampleLatents:
        """The latents of these frames of a sample. Raises `BadSample` where they are missing or empty."""
        spans = self._spans(shard)
        try:
            moments, clip = spans[f"{sample}.moments"], spans[f"{sample}.clip"]
        except KeyError as error:
            raise BadSample(f"sample {sample}: {self._file(shard)} lacks {error}") from error
        if max(*frames, reference) >= min(moments.shape[0], clip.shape[0]):
            raise BadSample(f"sample {sample}: its latents have {moments.shape[0]} frames, {max(frames)} was asked for")
        runs = consecutive(frames)
        wanted = [moments.rows(first, count) for first, count in runs]
        wanted += [moments.rows(reference, 1), clip.rows(reference, 1)]
        *pieces, of_reference, embedding = self.storage.ranges(self._file(shard), wanted)
        shape = moments.shape[1:]
        read = SampleLatents(
            np.frombuffer(b"".join(pieces), np.float16).reshape(-1, *shape),
            np.frombuffer(of_reference, np.float16).reshape(shape),
            np.frombuffer(embedding, np.float16),
        )
        if not all(np.isfinite(part).all() for part in (read.moments, read.reference, read.embedding)):
            raise BadSample(f"sample {sample}: it could not be encoded, its latents are empty")
        return read


def consecutive(frames: Sequence[int]) -> list[tuple[int, int]]:
    """Frame numbers as (first, count) of rising runs, in order."""
    runs: list[tuple[int, int]] = []
    for frame in frames:
        if runs and frame == sum(runs[-1]):
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((frame, 1))
    return runs


def find_latents(dataset: Dataset, clip: ClipSettings, encoders: str) -> tuple[Latents | None, str]:
    """(the dataset's latents by these encoders and this crop or None, why or which).

    encoders: `pipelines.latents_format.encoders_digest` of the run's encoders, "" when it has not told.
    """
    if clip.crop != "centre" or clip.flip:
        return (
            None,
            "latents are of the centre crop and not mirrored, the stream's pictures are not (clip.crop, clip.flip)",
        )
    if not encoders:
        return None, "the run did not say which encoders it has"
    width, height = clip.size
    storage = dataset.storage
    for precision in get_args(Precision):
        key = LatentsIdentity(encoders, clip.size, precision).key
        try:
            listing = json.loads(storage.read(f"latents/{key}/{LISTING}"))["shards"]
        except FileNotFoundError:
            continue
        except (ValueError, KeyError, TypeError) as error:
            return (
                None,
                f"{storage.place}/latents/{key}/{LISTING} cannot be read ({error!r}): run `vividpose latents` again",
            )
        lacking = _lacking(dataset, listing, storage.sizes(f"latents/{key}"))
        if lacking:
            some = ", ".join(lacking[:3])
            return None, (
                f"{len(lacking)} of {len(dataset.rows)} shards of {storage.place} have no latents ({some}): "
                "run `vividpose latents` again"
            )
        return Latents(storage, key), f"{storage.place}/latents/{key} ({precision})"
    return None, f"{storage.place} has no latents of these encoders at {width}x{height}: run `vividpose latents`"


def _lacking(dataset: Dataset, listing: Any, sizes: dict[str, int]) -> list[str]:
    """Shards whose latents are absent, of another shard, or not whole."""
    lacking = []
    for row in dataset.rows:
        entry = listing.get(row["name"], {}) if isinstance(listing, dict) else {}
        there = sizes.get(latents_name(row["name"]))
        if entry.get("shard") != row["sha256"] or there is None or there != entry.get("bytes"):
            lacking.append(row["name"])
    return lacking
