"""Who is the same person: clusters of the mean face vectors of clips."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

Vectors = NDArray[np.float32]
# Cosine of two clips' mean vectors from which they show one person. ArcFace's means of one person lie at 0.6 to 0.9.
SAME_PERSON = 0.5
EXACT_UP_TO = 20_000
_BLOCK = 1024
_PROBES = 8


def cluster(vectors: Vectors, threshold: float = SAME_PERSON) -> NDArray[np.int64]:
    """(N,) cluster of each vector (N, D) of length 1; numbered by first appearance.

    Clips join where a cosine reaches the threshold (single linkage). Up to `EXACT_UP_TO` vectors every pair is looked
    at, in blocks. Beyond, vectors are compared within the nearest of about sqrt(N) cells, `_PROBES` of them:
    O(N^1.5 D) time, O(N) memory besides the vectors. Two clips of a person are missed only if none of the cells of one
    is a cell of the other.
    """
    links = Links(len(vectors))
    if len(vectors) <= EXACT_UP_TO:
        _exact(vectors, threshold, np.arange(len(vectors)), links)
    else:
        _in_cells(vectors, threshold, links)
    return number_by_appearance(links.labels())


class Links:
    """Which of `count` things belong together, from links between two. Holds few links at a time, however many come."""

    def __init__(self, count: int) -> None:
        self._labels = np.arange(count)
        self._waiting: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
        self._size = 0

    def add(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> None:
        self._waiting.append((rows, columns))
        self._size += len(rows)
        if self._size > 4_000_000:
            self.labels()

    def labels(self) -> NDArray[np.int64]:
        """(count,) a number for each group; the same number for what belongs together."""
        count = len(self._labels)
        if self._waiting and count:
            rows, columns = (np.concatenate(side) for side in zip(*self._waiting))
            graph = coo_matrix((np.ones(len(rows), bool), (self._labels[rows], self._labels[columns])), (count, count))
            self._labels = connected_components(graph, directed=False)[1][self._labels].astype(np.int64)
            self._waiting, self._size = [], 0
        return self._labels


def number_by_appearance(labels: NDArray[np.integer]) -> NDArray[np.int64]:
    """The same partition with groups numbered in the order in which they first appear."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]


def _exact(vectors: Vectors, threshold: float, names: NDArray[np.int64], links: Links) -> None:
    for start in range(0, len(vectors), _BLOCK):
        row, column = np.nonzero(vectors[start : start + _BLOCK] @ vectors[start:].T >= threshold)
        apart = row != column
        links.add(names[start + row[apart]], names[start + column[apart]])


def _in_cells(vectors: Vectors, threshold: float, links: Links) -> None:
    centres = _centres(vectors)
    nearest = np.empty((len(vectors), _PROBES), np.int64)
    for start in range(0, len(vectors), _BLOCK):
        likeness = vectors[start : start + _BLOCK] @ centres.T
        nearest[start : start + _BLOCK] = np.argpartition(-likeness, _PROBES, axis=1)[:, :_PROBES]
    home = nearest.ravel()
    order = np.argsort(home, kind="stable")
    edges = np.searchsorted(home[order], np.arange(len(centres) + 1))
    for cell in range(len(centres)):
        members = np.unique(order[edges[cell] : edges[cell + 1]] // _PROBES)
        if len(members):
            _exact(vectors[members], threshold, members, links)


def _centres(vectors: Vectors) -> Vectors:
    """About sqrt(N) directions the vectors gather around: a few rounds of spherical k-means on a sample."""
    number = int(np.sqrt(len(vectors)))
    rng = np.random.default_rng(0)
    sample = vectors[rng.choice(len(vectors), min(len(vectors), 40 * number), replace=False)]
    centres = sample[:number].copy()
    for _ in range(5):
        home = np.concatenate([(sample[s : s + _BLOCK] @ centres.T).argmax(1) for s in range(0, len(sample), _BLOCK)])
        sums = np.zeros_like(centres)
        np.add.at(sums, home, sample)
        length = np.linalg.norm(sums, axis=1, keepdims=True)
        centres = np.where(length > 0, sums / np.maximum(length, 1e-9), centres)
    return centres
