"""pyrender behind the rasteriser's interface: slow on a CPU, kept as the yardstick the rasteriser is measured against.

It is a development dependency and needs EGL (Debian: libegl1, libgl1-mesa-dri). Two of its renderers in one process
crash when the first is deleted, so one is shared by the process.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from types import TracebackType
from typing import Any

import numpy as np

from pipelines.body.raster import NEAR, Maps, Mesh, joined
from pipelines.clip import Camera

FAR = 1000.0
# From x right, y down, z forward to OpenGL's x right, y up, z back.
OPENGL = np.array([1, -1, -1], np.float32)
_shared: dict[str, Any] = {}


def _pyrender() -> Any:
    os.environ.setdefault("PYOPENGL_PLATFORM", "egl")
    if not hasattr(np, "infty"):
        # pyrender 0.1.45 still uses the name that NumPy 2 removed.
        np.infty = np.inf  # type: ignore[attr-defined]
    try:
        import pyrender
    except ImportError as error:
        raise RuntimeError(
            f"the pyrender backend needs the pyrender package and EGL ({error}): pip install 'pyrender>=0.1.45', "
            "apt install libegl1 libgl1-mesa-dri, or use backend='numba'"
        ) from error
    return pyrender


def _set_samples(pyrender: Any, samples: int) -> None:
    """pyrender has its number of samples written in: it is changed where it is handed to OpenGL."""
    module = pyrender.renderer
    allocate = _shared.setdefault("allocate", module.glRenderbufferStorageMultisample)
    module.glRenderbufferStorageMultisample = lambda target, _, *rest: allocate(target, samples, *rest)
    if _shared.get("samples") != samples and "renderer" in _shared:
        _shared["renderer"]._renderer._delete_main_framebuffer()
    _shared["samples"] = samples


class PyrenderRasteriser:
    """Draws `shaded`, `depth` and `alpha`, all in one colour. It knows no labels (1 everywhere), no faces (0)."""

    def __init__(self, near: float = NEAR, multisample: bool = False) -> None:
        """multisample: pyrender's own four samples a pixel; without them it samples pixel centres, as "numba" does."""
        self.near = near
        self.pyrender = _pyrender()
        _set_samples(self.pyrender, 4 if multisample else 0)

    def draw(self, meshes: Mesh | Sequence[Mesh], camera: Camera) -> Maps:
        pyrender = self.pyrender
        mesh = joined(meshes)
        width, height = camera.size
        renderer = _shared.get("renderer")
        if renderer is None:
            renderer = _shared["renderer"] = pyrender.OffscreenRenderer(width, height)
        renderer.viewport_width, renderer.viewport_height = width, height

        color = np.asarray(mesh.colors)[0] / 255
        material = pyrender.MetallicRoughnessMaterial(
            baseColorFactor=(*map(float, color), 1.0), metallicFactor=0.0, doubleSided=True
        )
        primitive = pyrender.Primitive(
            positions=mesh.vertices * OPENGL,
            normals=_normals(mesh) * OPENGL,
            indices=mesh.faces,
            material=material,
            mode=4,
        )
        scene = pyrender.Scene(bg_color=(0, 0, 0, 0), ambient_light=(0.3, 0.3, 0.3))
        scene.add(pyrender.Mesh([primitive]))
        scene.add(
            pyrender.IntrinsicsCamera(
                camera.focal, camera.focal, camera.principal[0], camera.principal[1], znear=self.near, zfar=FAR
            )
        )
        scene.add(pyrender.DirectionalLight(intensity=2.0))
        color_map, depth = renderer.render(scene)
        covered = depth > 0
        return Maps(
            shaded=np.ascontiguousarray(color_map[..., :3]) * covered[..., None],
            alpha=covered.astype(np.uint8) * 255,
            depth=depth.astype(np.float32),
            face=covered.astype(np.int32) - 1,
            labels=covered.astype(np.uint8),
        )

    def __enter__(self) -> PyrenderRasteriser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to give back: the renderer stays for the process."""


def _normals(mesh: Mesh) -> np.ndarray:
    from pipelines.body import raster_kernels as kernels

    normals = np.empty_like(mesh.vertices)
    kernels.vertex_normals(mesh.vertices, mesh.faces, normals)
    return normals
