"""Random numbers that depend on nothing but a name: the seed of the run and the global number of a sample.

No generator is kept between samples, so nothing has to be saved, and neither the number of ranks nor that of workers
can change a draw. The idea is that of counter-based generators (Salmon et al., "Parallel random numbers: as easy as
1, 2, 3", 2011); EDM2's trainer seeds its noise by (seed, rank, images seen), here the rank is gone too.
"""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

_WORD: Final = 1 << 64


def _key(name: tuple[str | int, ...]) -> int:
    return int.from_bytes(hashlib.blake2b(repr(name).encode(), digest_size=16).digest(), "little")


def named_rng(*name: str | int) -> np.random.Generator:
    """A fresh generator for a name: equal names give equal draws, different names independent ones."""
    return np.random.Generator(np.random.Philox(key=_key(name)))


def named_permutation(count: int, *name: str | int) -> NDArray[np.int64]:
    """A permutation of range(count), int64 (count,), for a name.

    Made of Philox's raw words, whose values are fixed by its definition; numpy may change how its own `permutation`
    uses them, and a resumed run must not read another order after an upgrade.
    """
    words = np.random.Philox(key=_key(name)).random_raw(count)
    return np.argsort(np.asarray(words, np.uint64).reshape(count), kind="stable")


def sample_rng(seed: int, index: int, purpose: str) -> np.random.Generator:
    """The generator of one sample for one purpose ("clip", "noise", "sigma", "dropout", ...).

    index: the sample's global number, `TrainBatch.index`. Purposes are independent of each other, so that a new draw in
    one of them moves no other.
    """
    return named_rng("sample", seed, index, purpose)


def sample_generator(seed: int, index: int, purpose: str, device: torch.device | str = "cpu") -> torch.Generator:
    """`sample_rng` as a torch generator on `device`.

    torch's CPU and CUDA generators draw different numbers from one seed: for numbers that are the same on every device
    draw with `sample_rng` and move them.
    """
    word = int(np.random.Philox(key=_key(("sample", seed, index, purpose))).random_raw())
    return torch.Generator(device).manual_seed(word % (_WORD // 2))
