"""A body file in SMPL-X format and the bodies it makes: the free one that ships here, or the user's licensed one."""

from __future__ import annotations

import contextlib
import io
import tempfile
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from pipelines.clip import BodySequence

from .body_file import FREE_BODY, JOINTS, SHAPE_COLUMNS, BodyFileError, read_body_file
from .parts import face_parts, vertex_parts
from .skinning import joint_transforms, rotation_matrices, skin

if TYPE_CHECKING:
    import smplx

__all__ = ["FREE_BODY", "Body", "BodyFileError", "load_body"]

Floats = NDArray[np.float32]
_SMPLX_LICENCE = (
    "SMPL-X model licence (https://smpl-x.is.tue.mpg.de/modellicense.html): non-commercial scientific research, no "
    "redistribution; the file is the user's own"
)
# A chunk of frames is posed at once; bounds the memory for expressions and pose correctives.
_CHUNK = 32


def load_body(path: Path | str | None = None, trust_pickle: bool = False) -> Body:
    """The body of an SMPL-X file: `path`, or the free body of the project where it is None.

    trust_pickle: see `read_body_file`. Raises FileNotFoundError or BodyFileError.
    """
    where = FREE_BODY if path is None else Path(path)
    arrays, licence, digest = read_body_file(where, trust_pickle)
    return Body(where, arrays, licence or _SMPLX_LICENCE, digest)


class Body:
    """One SMPL-X file. `vertices` and `joints` pose a whole clip; `module` is the `smplx` model itself (torch).

    path, hash (sha256 of the file), licence: where the body comes from and what may be done with it.
    arrays: the file's arrays under their SMPL-X names; `shapedirs` is (V, 3, 20): ten shape, ten expression columns.
    faces: int64 (F, 3), counter-clockwise from outside. parents: int64 (55,), -1 for the pelvis.
    """

    def __init__(self, path: Path, arrays: dict[str, NDArray], licence: str, digest: str) -> None:
        self.path = path
        self.arrays = arrays
        self.licence = licence
        self.hash = digest
        self.faces: NDArray[np.int64] = arrays["f"]
        self.parents: NDArray[np.int64] = arrays["kintree_table"][0]
        # Joint positions are linear in shape and expression: (55, 3) and (55, 3, 20).
        regressor = arrays["J_regressor"].astype(np.float64)
        self._rest = regressor @ arrays["v_template"]
        self._rest_dirs = np.einsum("jv,vkc->jkc", regressor, arrays["shapedirs"], optimize=True)

    @property
    def vertex_count(self) -> int:
        return len(self.arrays["v_template"])

    @property
    def hand_means(self) -> Floats:
        """(2, 15, 3) axis-angle of the file's mean left and right hand."""
        return np.stack([self.arrays["hands_meanl"], self.arrays["hands_meanr"]]).reshape(2, 15, 3)

    @cached_property
    def vertex_parts(self) -> NDArray[np.uint8]:
        """(V,) part label of each vertex: an index of `parts.PART_NAMES`."""
        return vertex_parts(self.arrays["weights"])

    @cached_property
    def face_parts(self) -> NDArray[np.uint8]:
        """(F,) part label of each triangle."""
        return face_parts(self.faces, self.vertex_parts)

    @cached_property
    def module(self) -> smplx.SMPLX:
        """The file as `smplx.create` makes it: 10 betas, 10 expressions, full hand poses, flat hands, face contour.

        `smplx` opens files with pickle allowed; it is given a copy that holds only the checked plain arrays.
        """
        # smplx loads torch, which takes seconds and hundreds of megabytes: not for those who only draw.
        import smplx

        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            copy = Path(folder) / "SMPLX_NEUTRAL.npz"
            with copy.open("wb") as out:
                np.savez(out, **cast(dict[str, Any], self.arrays))
            model = smplx.create(
                str(copy),
                model_type="smplx",
                num_betas=SHAPE_COLUMNS,
                num_expression_coeffs=SHAPE_COLUMNS,
                use_pca=False,
                flat_hand_mean=True,
                use_face_contour=True,
            )
        return model.requires_grad_(False)

    def rest_joints(self, betas: Floats, expression: Floats | None = None) -> Floats:
        """(55, 3) joints in the rest pose of a shape (10,), metres, before translation."""
        coefficients = self._coefficients(betas, expression)
        return (self._rest + self._rest_dirs @ coefficients).astype(np.float32)

    def shaped(self, betas: Floats, expression: Floats | None = None) -> Floats:
        """(V, 3) vertices in the rest pose of a shape (10,), metres."""
        return self.arrays["v_template"] + self.arrays["shapedirs"] @ self._coefficients(betas, expression)

    def vertices(self, sequence: BodySequence, frames: slice | None = None) -> Floats:
        """float32 (n, V, 3) vertices of the chosen frames (all by default), metres, in the camera's frame.

        Raises ValueError where the sequence's shape belongs to another body file.
        """
        return self._surface(sequence, frames, None)

    def joints(self, sequence: BodySequence, frames: slice | None = None) -> Floats:
        """float32 (n, 144, 3) in `smplx`'s order: 55 joints, 21 vertex joints, 51 face landmarks, 17 of the contour.

        Only the few surface points are posed. The contour is the frontal one (the first row of the file's table), which
        does not depend on how the camera looks at the person.
        """
        corners, coordinates = self._points
        used, position = np.unique(corners, return_inverse=True)
        surface = self._surface(sequence, frames, used)
        points = np.einsum("pk,npkd->npd", coordinates, surface[:, position.reshape(corners.shape)])
        chosen = range(len(sequence))[frames or slice(None)]
        _, at = self._transforms(sequence, np.asarray(chosen, dtype=np.int64))
        at = at + sequence.transl[list(chosen), None]
        return np.concatenate([at, points], axis=1).astype(np.float32)

    def _coefficients(self, betas: Floats, expression: Floats | None) -> Floats:
        zero = np.zeros(SHAPE_COLUMNS, dtype=np.float32)
        both = np.concatenate([betas, zero if expression is None else expression]).astype(np.float32)
        if both.shape != (2 * SHAPE_COLUMNS,):
            raise ValueError(f"expected {SHAPE_COLUMNS} betas and {SHAPE_COLUMNS} expressions, got {both.size} values")
        return both

    @cached_property
    def _points(self) -> tuple[NDArray[np.int64], Floats]:
        """Vertices (89, 3) and barycentric coordinates (89, 3) of the points on the surface."""
        a = self.arrays
        # The module knows smplx's own order of the vertex joints.
        ids = vertex_joint_ids()
        triangles = np.concatenate([a["lmk_faces_idx"], a["dynamic_lmk_faces_idx"][0]])
        corners = np.concatenate([np.repeat(ids[:, None], 3, axis=1), self.faces[triangles]])
        one = np.tile(np.array([1, 0, 0], dtype=np.float32), (len(ids), 1))
        return corners, np.concatenate([one, a["lmk_bary_coords"], a["dynamic_lmk_bary_coords"][0]])

    @cached_property
    def _sparse_weights(self) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
        weights = self.arrays["weights"]
        starts = np.concatenate([[0], np.cumsum((weights != 0).sum(axis=1))]).astype(np.int64)
        rows, joints = np.nonzero(weights)
        return starts, joints.astype(np.int64), weights[rows, joints]

    @cached_property
    def _correctives(self) -> list[tuple[slice, NDArray[np.int64], Floats]]:
        """For each joint whose rotation reshapes the skin: its pose features, the vertices, blend shapes (9, K, 3)."""
        blocks = []
        for joint in range(1, JOINTS):
            columns = slice(9 * (joint - 1), 9 * joint)
            block = self.arrays["posedirs"][..., columns]
            moved = np.flatnonzero(np.abs(block).max(axis=(1, 2)) > 0)
            if len(moved):
                blocks.append((columns, moved, np.ascontiguousarray(block[moved].transpose(2, 0, 1))))
        return blocks

    def _correctives_of(self, only: NDArray[np.int64] | None) -> list[tuple[slice, NDArray[np.int64], Floats]]:
        """`_correctives` of some vertices (sorted), numbered among themselves."""
        if only is None:
            return self._correctives
        blocks = []
        for columns, moved, directions in self._correctives:
            _, among, here = np.intersect1d(only, moved, assume_unique=True, return_indices=True)
            if len(here):
                blocks.append((columns, among, np.ascontiguousarray(directions[:, here])))
        return blocks

    def _rotations(self, sequence: BodySequence, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        pose = np.zeros((len(rows), JOINTS, 3), dtype=np.float32)
        pose[:, 0] = sequence.global_orient[rows]
        pose[:, 1:22] = sequence.body_pose[rows]
        pose[:, 22] = sequence.jaw_pose[rows]
        pose[:, 25:40] = sequence.left_hand_pose[rows]
        pose[:, 40:55] = sequence.right_hand_pose[rows]
        if not sequence.flat_hand_mean:
            pose[:, 25:] += self.hand_means.reshape(30, 3)
        return rotation_matrices(pose)

    def _transforms(
        self, sequence: BodySequence, rows: NDArray[np.int64], rotations: NDArray[np.float64] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if rotations is None:
            rotations = self._rotations(sequence, rows)
        rest = self._rest + self._rest_dirs[..., :SHAPE_COLUMNS] @ sequence.betas
        moved = rest + np.einsum("jkc,nc->njk", self._rest_dirs[..., SHAPE_COLUMNS:], sequence.expression[rows])
        return joint_transforms(rotations, moved, self.parents)

    def _surface(self, sequence: BodySequence, frames: slice | None, only: NDArray[np.int64] | None) -> Floats:
        if sequence.body_hash != self.hash:
            raise ValueError(
                f"the sequence's shape belongs to the body file {sequence.body_hash[:12]}, this is {self.hash[:12]} "
                f"({self.path}); shape vectors do not carry over between body files: fit the shape again"
            )
        if sequence.betas.shape != (SHAPE_COLUMNS,):
            raise ValueError(f"expected betas ({SHAPE_COLUMNS},), one shape per clip; got {sequence.betas.shape}")
        rows = np.arange(len(sequence))[frames or slice(None)]
        vertices = slice(None) if only is None else only
        directions = self.arrays["shapedirs"][vertices]
        shaped = self.arrays["v_template"][vertices] + directions[..., :SHAPE_COLUMNS] @ sequence.betas
        expression_dirs = np.ascontiguousarray(directions[..., SHAPE_COLUMNS:].transpose(2, 0, 1)).reshape(10, -1)
        correctives = self._correctives_of(only)
        starts, joints, weights = self._sparse_weights
        if only is not None:
            sizes = np.diff(starts)[only]
            chosen = np.concatenate([np.arange(starts[v], starts[v + 1]) for v in only])
            starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
            joints, weights = joints[chosen], weights[chosen]
        out = np.empty((len(rows), len(shaped), 3), dtype=np.float32)
        for begin in range(0, len(rows), _CHUNK):
            part = rows[begin : begin + _CHUNK]
            rotations = self._rotations(sequence, part)
            blended = np.repeat(shaped[None], len(part), axis=0)
            expression = sequence.expression[part]
            if np.any(expression):
                blended += (expression @ expression_dirs).reshape(len(part), -1, 3)
            feature = (rotations[:, 1:] - np.eye(3)).reshape(len(part), -1).astype(np.float32)
            for columns, moved, blend_shapes in correctives:
                move = feature[:, columns] @ blend_shapes.reshape(9, -1)
                blended[:, moved] += move.reshape(len(part), -1, 3)
            transforms, _ = self._transforms(sequence, part, rotations)
            transforms[..., 3] += sequence.transl[part, None]
            target = out[begin : begin + _CHUNK]
            skin(blended, starts, joints, weights, transforms.astype(np.float32), target)
        return out


def vertex_joint_ids() -> NDArray[np.int64]:
    """(21,) the vertices that `smplx` appends to the joints, in its order: face, feet, left finger tips, right ones."""
    from smplx.vertex_ids import vertex_ids

    ids = vertex_ids["smplx"]
    face = ("nose", "reye", "leye", "rear", "lear")
    feet = ("LBigToe", "LSmallToe", "LHeel", "RBigToe", "RSmallToe", "RHeel")
    tips = tuple(side + finger for side in "lr" for finger in ("thumb", "index", "middle", "ring", "pinky"))
    return np.array([ids[name] for name in face + feet + tips])
