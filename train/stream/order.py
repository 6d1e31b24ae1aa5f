"""The global order: which sample stands at a position of an endless sequence, as a pure function.

Nothing here knows of ranks or workers. For a mixture, a position first chooses a dataset; within a dataset the samples
come epoch after epoch. An epoch is the shards in a drawn order, one after the other, cut into windows, each window
shuffled: near positions need few shards, and any position is found by drawing one window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from train.stream.rng import named_permutation

ORDER_VERSION = 1
"""Part of every dataset hash: another order is another dataset to a run that resumes."""
BLOCK = 4096
"""Positions in which each dataset of a mixture has exactly its share."""


@dataclass(frozen=True)
class Place:
    """Where a sample is found: its dataset, the epoch of that dataset, its shard and its number among the kept
    samples of
    that shard. offset: its place within the epoch."""

    dataset: int
    epoch: int
    offset: int
    shard: int
    ordinal: int


class EpochOrder:
    """The order of one dataset. counts: int64 (shards,), kept samples per shard. name: what makes the draws its own.

    Memory: a few numbers per shard and two windows; no list of samples is ever made.
    """

    def __init__(self, counts: NDArray[np.int64], seed: int, name: str, window: int) -> None:
        self.counts = np.asarray(counts, np.int64)
        self.total = int(self.counts.sum())
        self.seed, self.name, self.window = seed, name, window
        if self.total == 0:
            raise ValueError(f"dataset {name} has no samples to put in order")
        self._shards = lru_cache(maxsize=2)(self._draw_shards)
        self._window = lru_cache(maxsize=4)(self._draw_window)

    def __getstate__(self) -> tuple[NDArray[np.int64], int, str, int]:
        return self.counts, self.seed, self.name, self.window

    def __setstate__(self, state: tuple[NDArray[np.int64], int, str, int]) -> None:
        self.__init__(*state)  # type: ignore[misc]

    def _draw_shards(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(shards in the order of this epoch, where each begins in it, and the total at the end)."""
        shards = named_permutation(len(self.counts), "shards", self.seed, self.name, epoch)
        return shards, np.concatenate([[0], np.cumsum(self.counts[shards])])

    def _draw_window(self, epoch: int, window: int) -> NDArray[np.int64]:
        length = min(self.window, self.total - window * self.window)
        return named_permutation(length, "window", self.seed, self.name, epoch, window)

    def at(self, epoch: int, offset: int) -> tuple[int, int]:
        """(shard, number among its kept samples) at a place within an epoch."""
        window, within = divmod(offset, self.window)
        row = window * self.window + int(self._window(epoch, window)[within])
        shards, starts = self._shards(epoch)
        nth = int(np.searchsorted(starts, row, side="right")) - 1
        return int(shards[nth]), row - int(starts[nth])


class MixtureChoice:
    """Which dataset a position reads, and how many positions before it read the same one.

    Every `BLOCK` positions hold each dataset in proportion to its weight (largest remainders; at least one), in a
    drawn order.
    """

    def __init__(self, weights: Sequence[float], seed: int, name: str) -> None:
        if not weights or min(weights) <= 0:
            raise ValueError(f"weights must be above 0, got {list(weights)}")
        if len(weights) > BLOCK // 2:
            raise ValueError(f"a mixture may have {BLOCK // 2} datasets at most, got {len(weights)}")
        self.weights, self.seed, self.name = list(weights), seed, name
        self.shares = shares(weights, BLOCK)
        self._labels = np.repeat(np.arange(len(weights)), self.shares)
        self._block = lru_cache(maxsize=2)(self._draw_block)

    def __getstate__(self) -> tuple[list[float], int, str]:
        return self.weights, self.seed, self.name

    def __setstate__(self, state: tuple[list[float], int, str]) -> None:
        self.__init__(*state)  # type: ignore[misc]

    def _draw_block(self, block: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(the dataset of each place in the block, how often it came before in this block)."""
        drawn = self._labels[named_permutation(BLOCK, "mixture", self.seed, self.name, block)]
        earlier = np.empty(BLOCK, np.int64)
        for dataset, share in enumerate(self.shares):
            earlier[drawn == dataset] = np.arange(share)
        return drawn, earlier

    def at(self, position: int) -> tuple[int, int]:
        """(dataset, position in that dataset's own endless sequence)."""
        if len(self.shares) == 1:
            return 0, position
        block, within = divmod(position, BLOCK)
        drawn, earlier = self._block(block)
        dataset = int(drawn[within])
        return dataset, block * int(self.shares[dataset]) + int(earlier[within])

    def read(self, position: int) -> list[int]:
        """How many of the positions before this one read each dataset."""
        if len(self.shares) == 1:
            return [position]
        block, within = divmod(position, BLOCK)
        here = np.bincount(self._block(block)[0][:within], minlength=len(self.shares))
        return [int(count) for count in block * self.shares + here]


def shares(weights: Sequence[float], slots: int) -> NDArray[np.int64]:
    """`slots` shared out in proportion to the weights by largest remainders, each at least one.

    int64 (len(weights),), sums to `slots`.
    """
    exact = np.asarray(weights, np.float64) / np.sum(weights) * slots
    whole = np.floor(exact).astype(np.int64)
    by_remainder = np.argsort(whole - exact, kind="stable")
    whole[by_remainder[: slots - int(whole.sum())]] += 1
    for none in np.flatnonzero(whole == 0):
        whole[np.argmax(whole)] -= 1
        whole[none] = 1
    return whole


class GlobalOrder:
    """The endless sequence over all datasets."""

    def __init__(self, epochs: Sequence[EpochOrder], choice: MixtureChoice) -> None:
        self.epochs, self.choice = tuple(epochs), choice

    def at(self, position: int) -> Place:
        """What stands at a position (0, 1, 2, ...)."""
        dataset, own = self.choice.at(position)
        epoch, offset = divmod(own, self.epochs[dataset].total)
        return Place(dataset, epoch, offset, *self.epochs[dataset].at(epoch, offset))

    def after(self, place: Place, steps: int) -> Place:
        """What stands `steps` further in the same epoch of the same dataset, from its end on at its beginning."""
        order = self.epochs[place.dataset]
        offset = (place.offset + steps) % order.total
        return Place(place.dataset, place.epoch, offset, *order.at(place.epoch, offset))


def rank_positions(start: int, step: int, rank: int, world: int, batch_size: int) -> range:
    """The positions of a rank's batch at a step: of the global batch `start + step * B * W ...`, every W-th."""
    first = start + step * batch_size * world
    return range(first + rank, first + batch_size * world, world)
