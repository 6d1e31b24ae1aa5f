"""How inner loops are compiled here: single-threaded, strict arithmetic, kept on disk where there is a place for it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numba

log = logging.getLogger(__name__)


def compiled(function: Callable[..., Any]) -> Any:
    """`numba.njit` with a cache on disk, and without one where no folder for it can be written (read-only images)."""
    try:
        return numba.njit(cache=True, error_model="numpy")(function)
    except RuntimeError as error:
        log.warning("compiled code is not kept between runs (%s); set NUMBA_CACHE_DIR to a writable folder", error)
        return numba.njit(error_model="numpy")(function)
