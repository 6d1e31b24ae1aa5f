"""Whether it is the same face: the cosine of the recogniser's vectors, frame by frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def face_cosines(
    generated: NDArray[np.floating], shows: NDArray[np.bool_], truth: NDArray[np.floating], known: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """(T,) cosines of embeddings (T, d) of any length.

    known: where the truth shows a face; elsewhere the result is NaN, there is nothing to compare with. shows: where the
    result does; a face that is gone counts 0, leaving it out would reward losing faces.
    """
    a, b = generated.astype(np.float64), truth.astype(np.float64)
    length = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosines = (a * b).sum(axis=1) / np.where(length > 0, length, 1)
    return np.where(known, np.where(shows, cosines, 0.0), np.nan)
