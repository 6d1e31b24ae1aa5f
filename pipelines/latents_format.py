"""Cached latents: what an encoder makes of every frame, in safetensors files beside the shards. Writes and reads them.

    OUT/latents/<key>/NAME.safetensors   of shards/NAME.tar: for each sample two tensors, float16
        <sample key>.moments             (F, 2C, h, w): mean, then log variance, of the VAE, not scaled
        <sample key>.clip                (F, D): CLIP's image embedding
    OUT/latents/<key>/latents.json       what the key stands for, and each file with its size and its shard's sha256

The key is the hash of the encoders' weights, of the crop and of the precision, so that latents of another encoder or
size are never taken for these. Frames are consecutive: a clip's T frames are one range of bytes. Where a clip could not
be decoded, its embeddings are NaN, and its moments from the frame on that failed.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from pipelines.engine.atomic import digest, file_digest
from pipelines.shard_format import BadSample
from pipelines.video import crop

FORMAT_VERSION = 1
LISTING = "latents.json"
PREFIX = 8
"""Bytes of a safetensors file before its header: the header's length, little-endian."""
Precision = Literal["fp32", "bf16"]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class LatentsIdentity:
    """What latents depend on besides the frames. encoders: `encoders_digest`. size: (width, height) of the crop."""

    encoders: str
    size: tuple[int, int]
    precision: Precision
    crop_version: int = crop.VERSION
    format_version: int = FORMAT_VERSION

    @property
    def key(self) -> str:
        """The name of the folder below `latents/`."""
        return digest({**asdict(self), "size": list(self.size)})[:16]


def encoders_digest(folder: Path) -> str:
    """The hash of the weights in `vae/` and `image_encoder/` of a folder, and of how pictures are normalised.

    Raises FileNotFoundError where one of the two has no safetensors.
    """
    files: dict[str, str] = {}
    for part in ("vae", "image_encoder"):
        found = sorted((folder / part).glob("*.safetensors"))
        if not found:
            raise FileNotFoundError(f"there are no safetensors in {folder / part}")
        files |= {f"{part}/{path.name}": file_digest(path) for path in found}
    preprocessor = folder / "feature_extractor" / "preprocessor_config.json"
    if preprocessor.is_file():
        files["preprocessor"] = file_digest(preprocessor)
    return digest(files)


@dataclass(frozen=True)
class Span:
    """Where a tensor lies in its file: the byte of its first value, and its shape. Values are float16, row by row."""

    start: int
    shape: Shape

    def rows(self, first: int, count: int) -> tuple[int, int]:
        """(offset, bytes) of `count` entries along the first axis."""
        each = 2 * int(np.prod(self.shape[1:]))
        return self.start + first * each, count * each


class LatentsWriter:
    """A safetensors file of float16 tensors whose shapes are known beforehand, written value after value, so that none
    of it has to be in memory. A context manager; leaving it before all tensors are complete is an error."""

    def __init__(self, path: Path, shapes: Mapping[str, Shape], notes: Mapping[str, str]) -> None:
        header: dict[str, Any] = {"__metadata__": dict(notes)}
        self._ends: dict[str, int] = {}
        end = 0
        for name, shape in shapes.items():
            start, end = end, end + 2 * int(np.prod(shape))
            header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [start, end]}
            self._ends[name] = end
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        self.path, self.size = path, PREFIX + len(text) + end
        self._file = path.open("wb")
        self._file.write(struct.pack("<Q", len(text)) + text)
        self._data = self._file.tell()

    def write(self, values: NDArray[np.float16]) -> None:
        """The next values, in the order of `shapes`."""
        if values.dtype != np.float16:
            raise TypeError(f"latents are float16, got {values.dtype}")
        self._file.write(np.ascontiguousarray(values).data)

    def fill(self, name: str) -> None:
        """NaN from here to the end of a tensor."""
        left = self._data + self._ends[name] - self._file.tell()
        while left > 0:
            part = min(left, 1 << 20)
            self.write(np.full(part // 2, np.nan, np.float16))
            left -= part

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        written = self._file.tell()
        self._file.close()
        if kind is None and written != self.size:
            raise ValueError(f"{self.path}: {written} bytes were written of {self.size}")


def header_length(prefix: bytes, what: str) -> int:
    """Bytes of the header that follows the first `PREFIX` bytes. Raises `BadSample` for no safetensors file."""
    length = struct.unpack("<Q", prefix)[0] if len(prefix) == PREFIX else -1
    if not 2 <= length <= 100 << 20:
        raise BadSample(f"{what} is not a safetensors file")
    return length


def read_header(header: bytes, what: str) -> dict[str, Span]:
    """The tensors of a file by name, from its header. `BadSample` for anything that `LatentsWriter` would not write."""
    try:
        raw = json.loads(header)
        spans = {}
        for name, entry in raw.items():
            if name == "__metadata__":
                continue
            start, end = entry["data_offsets"]
            shape = tuple(int(side) for side in entry["shape"])
            if entry["dtype"] != "F16" or end - start != 2 * int(np.prod(shape)) or start < 0:
                raise BadSample(f"{what}: {name} is not a float16 tensor of {shape}")
            spans[name] = Span(PREFIX + len(header) + start, shape)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, BadSample):
            raise
        raise BadSample(f"{what} has no safetensors header: {error}") from error
    return spans


def latents_name(shard: str) -> str:
    """The file of a shard's latents: `x.tar` has `x.safetensors`."""
    return shard.removesuffix(".tar") + ".safetensors"
