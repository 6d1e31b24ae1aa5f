"""A z-buffer rasteriser on the CPU: triangle meshes in the camera's frame to shaded, depth, label and normal maps.

A pixel shows the face under its centre, at (x + 0.5, y + 0.5) in the convention of `pipelines.clip`. Shared edges are
drawn exactly once (top-left rule on coordinates snapped to 1/256 pixel). Nothing is culled: a face seen from behind is
lit as if turned round. Everything is single-threaded and deterministic. The first call of a process loads compiled
code from numba's cache (or compiles it, once, for some seconds).

The look is that of the field's figures: a neutral grey, smooth-shaded body on black. The paper does not give its
lights. Here a soft light at the camera darkens what turns away, so that limbs crossing the trunk keep an outline, and a
key light from above left and a weak fill from the right give form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pipelines.body import raster_kernels as kernels
from pipelines.clip import Camera, Floats

NEAR = 0.05
"""Metres. What is nearer to the camera than this is cut away."""

BACKENDS = ("numba", "pyrender")


@dataclass(frozen=True)
class Lighting:
    """Strengths add up and multiply the mesh's colour; 1 shows the colour as it is, above 1 saturates.

    ambient: everywhere. head: a light at the camera. lights: directions *towards* each light (x right, y down, z
    forward, so above is negative y and the viewer's side negative z; any length) with their strengths.
    """

    ambient: float = 0.18
    head: float = 0.42
    lights: tuple[tuple[tuple[float, float, float], float], ...] = (
        ((-0.45, -0.75, -0.5), 0.45),
        ((0.9, -0.1, -0.3), 0.12),
    )

    def directions(self) -> Floats:
        """float32 (L, 4): unit directions and strengths."""
        rows = [(*(np.asarray(d, np.float64) / np.linalg.norm(d)), s) for d, s in self.lights]
        return np.asarray(rows, dtype=np.float32).reshape(-1, 4)


FIGURE = Lighting()
FLAT = Lighting(ambient=1.0, head=0.0, lights=())
"""Colours as they are: for textures and masks."""


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh in the camera's frame (x right, y down, z forward, metres).

    vertices: float32 (V, 3), finite. faces: int32 (F, 3), counter-clockwise seen from outside.
    labels: uint8 (F,), the part each face belongs to, or None for 1 everywhere. 0 is the background's.
    colors: (3,) or (V, 3), RGB from 0 to 255; uint8 or float.
    attributes: float32 (V, C) to be interpolated over the picture, or None.
    """

    vertices: Floats
    faces: NDArray[np.int32]
    labels: NDArray[np.uint8] | None = None
    colors: ArrayLike = (200.0, 200.0, 200.0)
    attributes: Floats | None = None

    def checked(self, name: str = "mesh") -> Mesh:
        """The same mesh with contiguous arrays of the right types. Raises ValueError on what cannot be drawn."""
        vertices = np.ascontiguousarray(self.vertices, dtype=np.float32)
        faces = np.ascontiguousarray(self.faces, dtype=np.int32)
        if vertices.ndim != 2 or vertices.shape[1] != 3:
            raise ValueError(f"{name}: vertices must be (V, 3), got {vertices.shape}")
        if faces.ndim != 2 or faces.shape[1] != 3:
            raise ValueError(f"{name}: faces must be (F, 3), got {faces.shape}")
        bad = ~np.isfinite(vertices).all(axis=1)
        if bad.any():
            raise ValueError(
                f"{name}: {int(bad.sum())} of {len(vertices)} vertices are NaN or infinite, the first is "
                f"number {int(bad.argmax())}; drop the frame or repair the pose before drawing it"
            )
        if len(faces) and (faces.min() < 0 or faces.max() >= len(vertices)):
            raise ValueError(
                f"{name}: faces name vertices {faces.min()} to {faces.max()}, but there are {len(vertices)}"
            )
        labels = None if self.labels is None else np.ascontiguousarray(self.labels, dtype=np.uint8)
        if labels is not None and labels.shape != (len(faces),):
            raise ValueError(f"{name}: labels must be one per face, ({len(faces)},), got {labels.shape}")
        colors = np.ascontiguousarray(np.atleast_2d(np.asarray(self.colors)), dtype=np.float32)
        if colors.shape not in ((1, 3), (len(vertices), 3)):
            raise ValueError(f"{name}: colors must be (3,) or ({len(vertices)}, 3), got {colors.shape}")
        attributes = None if self.attributes is None else np.ascontiguousarray(self.attributes, dtype=np.float32)
        if attributes is not None and (attributes.ndim != 2 or len(attributes) != len(vertices)):
            raise ValueError(f"{name}: attributes must be ({len(vertices)}, C), got {attributes.shape}")
        return Mesh(vertices, faces, labels, colors, attributes)


@dataclass(frozen=True)
class Maps:
    """What was drawn, each (H, W), the camera's size.

    shaded: uint8 (H, W, 3), RGB, black where there is nothing. alpha: uint8, share of the pixel covered, 0 or 255
    unless drawn with two samples. depth: float32, metres along the optical axis, 0 where there is nothing.
    face: int32, index of the face (counted through all meshes), -1 where there is nothing. labels: uint8, 0 likewise.
    normals: float32 (H, W, 3), unit, camera frame, towards the viewer; zero likewise. None unless asked for.
    attributes: float32 (H, W, C), zero likewise. None unless every mesh has them.
    """

    shaded: NDArray[np.uint8]
    alpha: NDArray[np.uint8]
    depth: Floats
    face: NDArray[np.int32]
    labels: NDArray[np.uint8]
    normals: Floats | None = None
    attributes: Floats | None = None

    @property
    def mask(self) -> NDArray[np.bool_]:
        """bool (H, W): pixels whose centre is covered."""
        return self.face >= 0


def normals_to_rgb(normals: Floats) -> NDArray[np.uint8]:
    """The usual picture of a normal map: x right, y up, z towards the viewer as R, G, B, 0 to 255; black outside."""
    rgb = np.rint((normals * np.array([1, -1, -1], np.float32) * 0.5 + 0.5) * 255).astype(np.uint8)
    rgb[~normals.any(axis=-1)] = 0
    return rgb


class Rasteriser:
    """Keeps its working buffers from frame to frame. Not for use from several threads at once; make one for each."""

    def __init__(self, lighting: Lighting = FIGURE, near: float = NEAR, samples: int = 1) -> None:
        """samples: 1, or 2 for 2x2 samples a pixel in `shaded` and `alpha`; other maps always show pixel centres."""
        if samples not in (1, 2):
            raise ValueError(f"samples must be 1 or 2, got {samples}")
        if not near > 0:
            raise ValueError(f"near must be positive, got {near}")
        self.lighting, self.near, self.samples = lighting, float(near), samples
        self._buffers: dict[tuple[str, tuple[int, ...]], NDArray] = {}

    def draw(
        self, meshes: Mesh | Sequence[Mesh], camera: Camera, *, normals: bool = False, out: Maps | None = None
    ) -> Maps:
        """Draw one or several meshes with a common depth. Raises ValueError on what cannot be drawn (see `Mesh`).

        out: maps of an earlier call that nobody needs any more. Where they have the same size their arrays are written
        anew and returned, which saves a fifth of the time.
        """
        mesh = joined(meshes)
        width, height = camera.size
        if width < 1 or height < 1:
            raise ValueError(f"the camera's picture must be at least 1x1, got {width}x{height}")
        maps = out if out is not None and out.face.shape == (height, width) else _empty_maps(width, height)
        vertex_normals = self._buffer("normals", mesh.vertices.shape, np.float32)
        kernels.vertex_normals(mesh.vertices, mesh.faces, vertex_normals)
        light = self._buffer("light", (len(mesh.vertices), 2), np.float32)
        kernels.light_vertices(
            mesh.vertices, vertex_normals, np.float32(self.lighting.ambient), np.float32(self.lighting.head),
            self.lighting.directions(), light,
        )  # fmt: skip

        inverse = self._resolve(mesh, camera, maps.face)
        face_labels = np.zeros(0, np.uint8) if mesh.labels is None else mesh.labels
        kernels.read_out(inverse, maps.face, face_labels, maps.depth, maps.labels, maps.alpha)
        if self.samples == 1:
            self._shade(mesh, light, maps.face, camera, maps.shaded)
        else:
            fine = camera.scaled((2 * width, 2 * height))
            index = self._buffer("fine index", (2 * height, 2 * width), np.int32)
            large = self._buffer("fine shaded", (2 * height, 2 * width, 3), np.uint8)
            self._resolve(mesh, fine, index)
            self._shade(mesh, light, index, fine, large)
            kernels.halve(large, index, maps.shaded, maps.alpha)

        seen = attributes = None
        if normals:
            seen = np.zeros((height, width, 3), np.float32)
            kernels.see_normals(mesh.vertices, mesh.faces, vertex_normals, maps.face, *_intrinsics(camera), seen)
        if mesh.attributes is not None:
            attributes = np.zeros((height, width, mesh.attributes.shape[1]), np.float32)
            kernels.interpolate(
                mesh.vertices, mesh.faces, maps.face, *_intrinsics(camera), mesh.attributes, attributes
            )
        return replace(maps, normals=seen, attributes=attributes)

    def _resolve(self, mesh: Mesh, camera: Camera, index: NDArray[np.int32]) -> Floats:
        """Fills `index` (H, W) with the visible face and returns 1/z, a buffer of this object."""
        screen = self._buffer("screen", (len(mesh.vertices), 2), np.int64)
        reciprocal = self._buffer("reciprocal", (len(mesh.vertices),), np.float64)
        inverse = self._buffer("inverse", index.shape, np.float32)
        kernels.project(mesh.vertices, *_intrinsics(camera), self.near, screen, reciprocal)
        kernels.resolve(
            mesh.vertices, mesh.faces, screen, reciprocal, *_intrinsics(camera), self.near, inverse, index
        )
        return inverse

    def _shade(
        self, mesh: Mesh, light: Floats, index: NDArray[np.int32], camera: Camera, shaded: NDArray[np.uint8]
    ) -> None:
        kernels.shade(mesh.vertices, mesh.faces, light, mesh.colors, index, *_intrinsics(camera), shaded)

    def _buffer(self, name: str, shape: tuple[int, ...], dtype: type) -> NDArray:
        """A buffer that is kept while its shape is asked for again; at most a handful of shapes are kept."""
        key = (name, shape)
        if key not in self._buffers:
            if len(self._buffers) > 16:
                self._buffers.clear()
            self._buffers[key] = np.empty(shape, dtype)
        return self._buffers[key]


def rasterise(
    vertices: Floats,
    faces: NDArray[np.int32],
    camera: Camera,
    *,
    labels: NDArray[np.uint8] | None = None,
    colors: ArrayLike = (200.0, 200.0, 200.0),
    lighting: Lighting = FIGURE,
    samples: int = 1,
    normals: bool = False,
    near: float = NEAR,
    backend: str = "numba",
) -> Maps:
    """One mesh, one picture: see `Mesh`, `Rasteriser` and `Maps` for shapes and units.

    backend: "numba", or "pyrender" as a yardstick (through EGL; `shaded` has pyrender's own lights then).
    """
    mesh = Mesh(vertices, faces, labels, colors)
    if backend == "numba":
        return Rasteriser(lighting, near, samples).draw(mesh, camera, normals=normals)
    if backend == "pyrender":
        from pipelines.body.raster_pyrender import PyrenderRasteriser

        if normals or samples != 1:
            raise ValueError("the pyrender backend draws one sample a pixel and no normals")
        with PyrenderRasteriser(near) as renderer:
            return renderer.draw(mesh, camera)
    raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")


def _empty_maps(width: int, height: int) -> Maps:
    shape = (height, width)
    return Maps(
        shaded=np.empty((*shape, 3), np.uint8),
        alpha=np.empty(shape, np.uint8),
        depth=np.empty(shape, np.float32),
        face=np.empty(shape, np.int32),
        labels=np.empty(shape, np.uint8),
    )


def _intrinsics(camera: Camera) -> tuple[float, float, float]:
    return float(camera.focal), float(camera.principal[0]), float(camera.principal[1])


def joined(meshes: Mesh | Sequence[Mesh]) -> Mesh:
    """One or several meshes as one that has been checked, faces in the order of the meshes. Raises ValueError."""
    listed = [meshes] if isinstance(meshes, Mesh) else list(meshes)
    checked = [mesh.checked(f"mesh {i}") for i, mesh in enumerate(listed)]
    if not checked:
        return Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32)).checked()
    if len(checked) == 1:
        return checked[0]
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in checked)])
    attributes = [mesh.attributes for mesh in checked if mesh.attributes is not None]
    if attributes and len(attributes) < len(checked):
        raise ValueError(f"{len(attributes)} of {len(checked)} meshes have attributes; all or none must")
    return Mesh(
        np.concatenate([mesh.vertices for mesh in checked]),
        np.concatenate([mesh.faces + np.int32(start) for mesh, start in zip(checked, starts)]),
        np.concatenate(
            [np.ones(len(mesh.faces), np.uint8) if mesh.labels is None else mesh.labels for mesh in checked]
        ),
        np.concatenate([np.broadcast_to(np.asarray(mesh.colors), (len(mesh.vertices), 3)) for mesh in checked]),
        np.concatenate(attributes) if attributes else None,
    )
