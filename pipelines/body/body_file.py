"""Reading the arrays of an SMPL-X file without ever running code from it, and with errors that name what is wrong."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FREE_BODY = Path(__file__).with_name("data") / "smplx_anny.npz"
JOINTS = 55
POSE_FEATURES = (JOINTS - 1) * 9
# `smplx` picks fixed vertices (eyes, toes, finger tips) up to this id.
LAST_FIXED_VERTEX = 9929
SHAPE_COLUMNS = 10

_SHAPES: dict[str, tuple[int | str, ...]] = {
    "v_template": ("V", 3),
    "f": ("F", 3),
    "shapedirs": ("V", 3, "S"),
    "posedirs": ("V", 3, POSE_FEATURES),
    "J_regressor": (JOINTS, "V"),
    "weights": ("V", JOINTS),
    "kintree_table": (2, JOINTS),
    "hands_componentsl": (45, 45),
    "hands_componentsr": (45, 45),
    "hands_meanl": (45,),
    "hands_meanr": (45,),
    "lmk_faces_idx": (51,),
    "lmk_bary_coords": (51, 3),
    "dynamic_lmk_faces_idx": (79, 17),
    "dynamic_lmk_bary_coords": (79, 17, 3),
}
_INTEGERS = ("f", "kintree_table", "lmk_faces_idx", "dynamic_lmk_faces_idx")
_LICENCE_KEY = "vividpose_licence"


class BodyFileError(ValueError):
    """A file that is not a usable SMPL-X body. The message says what was expected, what came and what to do."""


def read_body_file(path: Path, trust_pickle: bool = False) -> tuple[dict[str, NDArray], str | None, str]:
    """The arrays of an SMPL-X npz that the project uses, checked; the licence text inside it, if any; its sha256.

    Floats come as float32, indices as int64; `shapedirs` as (V, 3, 20): ten shape and ten expression columns, whether
    the file has 20 columns or 400 (expression from column 300 on, as `smplx` reads them).

    trust_pickle: unpickle arrays that the file stores as Python objects. Pickles can run any code: only for files whose
    origin is known. Raises FileNotFoundError or BodyFileError.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"no body file at {path}. SMPLX_NEUTRAL.npz comes from https://smpl-x.is.tue.mpg.de (registration); "
            "without a path the free body that ships with the project is used"
        )
    if not zipfile.is_zipfile(path):
        raise BodyFileError(f"{path} is not an npz (a zip of named arrays, as SMPLX_NEUTRAL.npz is) or is cut short")
    try:
        with np.load(path, allow_pickle=trust_pickle) as file:
            missing = [key for key in _SHAPES if key not in file.files]
            if missing:
                raise BodyFileError(
                    f"{path} lacks the arrays {', '.join(missing)}; expected an SMPL-X model file (npz), not SMPL, "
                    "SMPL-H or a file of poses"
                )
            raw = {key: _array(file, key, path) for key in _SHAPES}
            licence = str(_array(file, _LICENCE_KEY, path)) if _LICENCE_KEY in file.files else None
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise BodyFileError(f"{path} cannot be read ({error}): it is damaged; fetch it again") from error
    arrays = _checked(raw, path)
    return arrays, licence, hashlib.sha256(path.read_bytes()).hexdigest()


def _array(file: Mapping[str, NDArray], key: str, path: Path) -> NDArray:
    try:
        return file[key]
    except ValueError as error:
        if "allow_pickle" not in str(error) and "Object arrays" not in str(error):
            raise BodyFileError(f"{path}: {key} is damaged ({error}); fetch the file again") from error
        raise BodyFileError(
            f"{path}: {key} is stored as a pickled Python object, which can run any code when opened. If the file "
            "comes from its publisher, load it with trust_pickle=True"
        ) from error


def _checked(raw: dict[str, NDArray], path: Path) -> dict[str, NDArray]:
    arrays: dict[str, NDArray] = {}
    sizes: dict[str, int] = {}
    for key, wanted in _SHAPES.items():
        value = raw[key]
        if value.dtype == object:
            raise BodyFileError(f"{path}: {key} holds Python objects of shape {value.shape}, expected numbers {wanted}")
        fits = value.ndim == len(wanted)
        for have, want in zip(value.shape, wanted):
            fits = fits and have == (sizes.setdefault(want, have) if isinstance(want, str) else want)
        if not fits:
            known = tuple(sizes.get(w, w) if isinstance(w, str) else w for w in wanted)
            raise BodyFileError(f"{path}: {key} has shape {value.shape}, expected {known}")
        if key in _INTEGERS:
            arrays[key] = value.astype(np.int64)
            continue
        if value.dtype.kind != "f" or not np.isfinite(value).all():
            raise BodyFileError(f"{path}: {key} ({value.dtype}) holds NaN, infinity or something that is not a number")
        arrays[key] = value.astype(np.float32)
    if sizes["V"] <= LAST_FIXED_VERTEX:
        raise BodyFileError(
            f"{path} has {sizes['V']} vertices; smplx reads vertices up to {LAST_FIXED_VERTEX} (SMPL-X has 10475)"
        )
    for key, limit in (("f", sizes["V"]), ("lmk_faces_idx", sizes["F"]), ("dynamic_lmk_faces_idx", sizes["F"])):
        if arrays[key].min() < 0 or arrays[key].max() >= limit:
            raise BodyFileError(f"{path}: {key} points outside 0..{limit - 1}")
    parents = arrays["kintree_table"][0]
    if (parents[1:] < 0).any() or (parents[1:] >= np.arange(1, JOINTS)).any():
        raise BodyFileError(f"{path}: kintree_table is no tree with parents before children")
    arrays["kintree_table"][0, 0] = -1
    arrays["shapedirs"] = _twenty_columns(arrays["shapedirs"], path)
    return arrays


def _twenty_columns(shapedirs: NDArray, path: Path) -> NDArray:
    """Ten shape and ten expression columns, picked as `smplx` picks them."""
    columns = shapedirs.shape[-1]
    start = 300 if columns >= 400 else SHAPE_COLUMNS
    if columns < start + SHAPE_COLUMNS:
        raise BodyFileError(f"{path}: shapedirs has {columns} columns, expected 20 (10 shape, 10 expression) or 400")
    return np.concatenate([shapedirs[..., :SHAPE_COLUMNS], shapedirs[..., start : start + SHAPE_COLUMNS]], axis=-1)
