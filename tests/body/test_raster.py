from __future__ import annotations

import ctypes.util
import sys
from typing import Literal

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.body.compiled import compiled
from pipelines.body.raster import FLAT, Lighting, Maps, Mesh, Rasteriser, normals_to_rgb, rasterise
from pipelines.clip import Camera

CAMERA = Camera(100.0, (32.0, 24.0), (64, 48))


def sphere(rings: int = 40, centre: tuple[float, float, float] = (0, 0, 3), radius: float = 0.5) -> Mesh:
    theta = np.linspace(0, np.pi, rings + 1)[:, None]
    phi = np.linspace(0, 2 * np.pi, 2 * rings, endpoint=False)
    x, y, z = np.sin(theta) * np.cos(phi), np.cos(theta) * np.ones_like(phi), np.sin(theta) * np.sin(phi)
    vertices = np.stack([x, y, z], -1).reshape(-1, 3) * radius + centre
    row, column = np.meshgrid(np.arange(rings), np.arange(2 * rings), indexing="ij")
    a = row * 2 * rings + column
    b = row * 2 * rings + (column + 1) % (2 * rings)
    below = 2 * rings
    faces = np.concatenate([np.stack([a, b, a + below], -1), np.stack([b, b + below, a + below], -1)]).reshape(-1, 3)
    return Mesh(vertices.astype(np.float32), faces.astype(np.int32))


def at_pixels(corners: list[tuple[float, float]], depth: float = 2.0) -> np.ndarray:
    """Camera-frame points at one depth that project to the given pixels of CAMERA."""
    return np.array(
        [((u - 32.0) * depth / 100.0, (v - 24.0) * depth / 100.0, depth) for u, v in corners], np.float32
    )


def draw(*meshes: Mesh, camera: Camera = CAMERA, **options: object) -> Maps:
    return Rasteriser(**options).draw(list(meshes), camera)  # type: ignore[arg-type]


def triangle(vertices: np.ndarray) -> Mesh:
    return Mesh(vertices, np.array([[0, 1, 2]], np.int32))


def ray_cast(mesh: Mesh, camera: Camera, near: float) -> np.ndarray:
    """Depth of the nearest hit of each pixel's centre ray; 0 for none. One triangle after the other, slowly."""
    width, height = camera.size
    u, v = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    rays = np.stack(
        [(u - camera.principal[0]) / camera.focal, (v - camera.principal[1]) / camera.focal, np.ones_like(u)], -1
    )
    depth = np.full((height, width), np.inf)
    for a, b, c in mesh.vertices.astype(np.float64)[mesh.faces]:
        normal = np.cross(b - a, c - a)
        along = rays @ normal
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.where(along != 0, (a @ normal) / along, -1.0)
        hit = rays * t[..., None]
        inside = np.ones_like(t, bool)
        for p, q in ((a, b), (b, c), (c, a)):
            inside &= np.cross(q - p, hit - p) @ normal >= 0
        inside &= (t >= near) & (np.linalg.norm(normal) > 0)
        depth = np.where(inside & (t < depth), t, depth)
    return np.where(np.isfinite(depth), depth, 0)


def test_a_square_covers_the_pixels_whose_centres_it_holds() -> None:
    square = Mesh(at_pixels([(10, 5), (20, 5), (20, 8), (10, 8)]), np.array([[0, 1, 2], [0, 2, 3]], np.int32))
    rows, columns = np.nonzero(draw(square).mask)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (5, 7, 10, 19)
    assert len(rows) == 30


def test_centres_on_an_edge_belong_to_the_square_below_and_right() -> None:
    square = Mesh(at_pixels([(10.5, 5.5), (12.5, 5.5), (12.5, 7.5), (10.5, 7.5)]), np.array([[0, 1, 2], [0, 2, 3]]))
    rows, columns = np.nonzero(draw(square).mask)
    assert sorted(set(rows)) == [5, 6]
    assert sorted(set(columns)) == [10, 11]


@given(
    st.lists(st.tuples(st.integers(0, 64 * 4), st.integers(0, 48 * 4)), min_size=4, max_size=12, unique=True),
    st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_neighbouring_triangles_neither_gape_nor_overlap(quarters: list[tuple[int, int]], turned: bool) -> None:
    """Corners on quarter pixels, so that many centres lie exactly on edges."""
    from scipy.spatial import Delaunay, QhullError

    corners = np.array(quarters, np.float64) / 4
    try:
        faces = Delaunay(corners).simplices.astype(np.int32)
    except QhullError:
        return
    if turned:
        faces = faces[:, ::-1]
    vertices = at_pixels([tuple(corner) for corner in corners])
    whole = draw(Mesh(vertices, faces)).mask
    single = np.sum([draw(Mesh(vertices, face[None])).mask for face in faces], axis=0)
    assert single.max() <= 1
    assert (single.astype(bool) == whole).all()


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_depth_is_that_of_a_ray_cast(seed: int) -> None:
    rng = np.random.default_rng(seed)
    vertices = rng.uniform((-2, -2, -1), (2, 2, 5), (9, 3)).astype(np.float32)
    mesh = Mesh(vertices, np.arange(9, dtype=np.int32).reshape(3, 3))
    drawn, cast = draw(mesh).depth, ray_cast(mesh, CAMERA, 0.05)
    agree = np.abs(drawn - cast) <= 1e-3 + 0.02 * cast
    # Only centres within a snapped corner's 1/512 pixel of an edge may differ.
    assert np.count_nonzero(~agree) <= 6


def test_the_nearer_mesh_hides_the_farther_in_either_order() -> None:
    near = Mesh(at_pixels([(5, 5), (30, 5), (5, 30)], 1.0), np.array([[0, 1, 2]]), np.array([7], np.uint8))
    far = Mesh(at_pixels([(0, 0), (64, 0), (0, 48)], 4.0), np.array([[0, 1, 2]]), np.array([9], np.uint8))
    one, other = draw(near, far), draw(far, near)
    assert (one.labels == other.labels).all()
    assert one.labels[10, 10] == 7
    assert one.labels[1, 1] == 9
    assert one.labels[47, 63] == 0


def test_a_floor_that_reaches_behind_the_camera_is_cut_at_the_near_plane() -> None:
    corners = np.array([(-5.3, 1, -5), (5.2, 1, -5), (5.2, 1, 20), (-5.3, 1, 20)], np.float32)
    floor = Mesh(corners, np.array([[0, 1, 2], [0, 2, 3]], np.int32))
    wide = Camera(20.0, (32.0, 24.0), (64, 48))
    drawn, cast = draw(floor, camera=wide).depth, ray_cast(floor, wide, 0.05)
    assert drawn[47, 32] > 0
    assert drawn[10, 32] == 0
    np.testing.assert_allclose(drawn[26:], cast[26:], rtol=1e-3)


def test_a_triangle_far_larger_than_the_picture_covers_all_of_it() -> None:
    huge = triangle(np.array([(-1e6, -1e6, 1), (1e6, -1e6, 1), (0, 1e6, 1)], np.float32))
    maps = draw(huge)
    assert maps.mask.all()
    np.testing.assert_allclose(maps.depth, 1.0, rtol=1e-5)


@pytest.mark.parametrize(
    "vertices",
    [
        np.array([(0, 0, -1), (1, 0, -1), (0, 1, -2)], np.float32),
        np.array([(0, 0, 2), (0, 0, 2), (0, 0, 2)], np.float32),
        np.array([(-1, 0, 2), (0, 0, 2), (1, 0, 2)], np.float32),
        np.array([(50, 0, 1), (51, 0, 1), (50, 1, 1)], np.float32),
    ],
    ids=["behind", "a point", "a line", "beside the picture"],
)
def test_nothing_is_drawn_of_what_cannot_be_seen(vertices: np.ndarray) -> None:
    maps = draw(triangle(vertices))
    assert not maps.mask.any()
    assert not maps.shaded.any()
    assert not maps.depth.any()


def test_no_mesh_gives_a_black_picture() -> None:
    maps = Rasteriser().draw([], CAMERA)
    assert maps.shaded.shape == (48, 64, 3)
    assert not maps.shaded.any()


def test_a_vertex_that_is_not_a_number_is_named() -> None:
    vertices = sphere().vertices.copy()
    vertices[[5, 9]] = np.nan
    with pytest.raises(ValueError, match=r"2 of \d+ vertices are NaN or infinite, the first is number 5"):
        draw(Mesh(vertices, sphere().faces))


@pytest.mark.parametrize(
    ("mesh", "message"),
    [
        (Mesh(np.zeros((3, 2), np.float32), np.zeros((1, 3), np.int32)), r"vertices must be \(V, 3\)"),
        (Mesh(np.zeros((3, 3), np.float32), np.array([[0, 1, 3]])), "faces name vertices 0 to 3, but there are 3"),
        (Mesh(np.zeros((3, 3), np.float32), np.zeros((1, 3), int), np.zeros(2, np.uint8)), "labels must be one per"),
        (Mesh(np.zeros((3, 3), np.float32), np.zeros((1, 3), int), None, np.zeros((2, 3))), "colors must be"),
    ],
)
def test_arrays_of_a_wrong_shape_are_refused(mesh: Mesh, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw(mesh)


def test_light_comes_from_above_and_the_left_of_the_picture() -> None:
    ball = draw(sphere(), camera=Camera(100, (32, 32), (64, 64)), lighting=Lighting(head=0.0)).shaded.astype(int)
    assert ball[20, 32, 0] > ball[44, 32, 0] + 20
    assert ball[32, 20, 0] > ball[32, 44, 0] + 20


def test_the_default_light_darkens_towards_the_outline_and_never_saturates() -> None:
    ball = draw(sphere()).shaded
    assert ball.max() < 255
    assert ball[24, 48, 0] < ball[24, 32, 0]


def test_normals_of_a_sphere_are_its_radii() -> None:
    maps = Rasteriser().draw(sphere(80), CAMERA, normals=True)
    assert maps.normals is not None
    v, u = np.nonzero(maps.mask)
    z = maps.depth[v, u]
    hit = np.stack([(u + 0.5 - 32) / 100 * z, (v + 0.5 - 24) / 100 * z, z], -1)
    radii = (hit - (0, 0, 3)) / 0.5
    assert np.abs(maps.normals[v, u] - radii).max() < 0.05
    assert not maps.normals[~maps.mask].any()


def test_the_normal_picture_has_up_in_green_and_black_outside() -> None:
    maps = Rasteriser().draw(sphere(), CAMERA, normals=True)
    assert maps.normals is not None
    picture = normals_to_rgb(maps.normals)
    rows = np.nonzero(maps.mask[:, 32])[0]
    assert picture[rows[0], 32, 1] > 200 > 50 > picture[rows[-1], 32, 1]
    assert picture[0, 0].tolist() == [0, 0, 0]


def test_a_surface_seen_from_behind_is_lit_as_if_turned_round() -> None:
    ball = sphere()
    turned = Mesh(ball.vertices, np.ascontiguousarray(ball.faces[:, ::-1]))
    # Vertex normals turn with the faces, so the inside-out ball looks the same.
    difference = draw(ball).shaded.astype(int) - draw(turned).shaded
    assert np.abs(difference).max() <= 1


def test_colours_are_interpolated_in_space_not_on_the_screen() -> None:
    road = np.array([(-1, 1, 2), (1, 1, 2), (1, 1, 10), (-1, 1, 10)], np.float32)
    colors = np.array([(0, 0, 0), (0, 0, 0), (240, 240, 240), (240, 240, 240)], np.float32)
    maps = draw(Mesh(road, np.array([[0, 1, 2], [0, 2, 3]]), None, colors), lighting=FLAT)
    v, u = np.nonzero(maps.mask)
    expected = (maps.depth[v, u] - 2) / 8 * 240
    assert np.abs(maps.shaded[v, u, 1] - expected).max() < 1


def test_attributes_are_interpolated_and_zero_outside() -> None:
    ball = sphere()
    maps = draw(Mesh(ball.vertices, ball.faces, attributes=ball.vertices))
    assert maps.attributes is not None
    np.testing.assert_allclose(maps.attributes[..., 2], maps.depth, atol=2e-3)


def test_two_samples_soften_the_outline_only() -> None:
    one, two = draw(sphere()), draw(sphere(), samples=2)
    assert set(np.unique(one.alpha)) == {0, 255}
    assert {64, 128, 191} & set(np.unique(two.alpha).tolist())
    inside = two.alpha == 255
    assert np.abs(one.shaded[inside].astype(int) - two.shaded[inside]).max() < 12
    np.testing.assert_array_equal(one.depth, two.depth)
    np.testing.assert_array_equal(one.labels, two.labels)


def test_drawing_again_into_old_maps_gives_the_same() -> None:
    rasteriser = Rasteriser()
    first = rasteriser.draw(sphere(), CAMERA)
    expected = first.shaded.tobytes(), first.depth.tobytes(), first.face.tobytes(), first.labels.tobytes()
    other = rasteriser.draw(sphere(centre=(0.3, 0, 2)), CAMERA)
    again = rasteriser.draw(sphere(), CAMERA, out=other)
    assert again.shaded is other.shaded
    assert (again.shaded.tobytes(), again.depth.tobytes(), again.face.tobytes(), again.labels.tobytes()) == expected


def test_buffers_do_not_grow_from_frame_to_frame() -> None:
    rasteriser = Rasteriser()
    rasteriser.draw(sphere(), CAMERA)
    kept = sum(buffer.nbytes for buffer in rasteriser._buffers.values())
    for step in range(20):
        rasteriser.draw(sphere(centre=(0.01 * step, 0, 3)), CAMERA)
    assert sum(buffer.nbytes for buffer in rasteriser._buffers.values()) == kept


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(ValueError, match="numba, pyrender"):
        rasterise(sphere().vertices, sphere().faces, CAMERA, backend="opengl")


def test_a_missing_pyrender_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyrender", None)
    with pytest.raises(RuntimeError, match="pip install 'pyrender"):
        rasterise(sphere().vertices, sphere().faces, CAMERA, backend="pyrender")


def test_without_a_place_for_a_cache_kernels_are_compiled_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    njit = numba.njit

    def refuse(cache: bool = False, error_model: Literal["python", "numpy"] = "python") -> object:
        if cache:
            raise RuntimeError("cannot cache function 'double': no locator available")
        return njit(error_model=error_model)

    monkeypatch.setattr(numba, "njit", refuse)
    double = compiled(lambda x: 2 * x)
    assert double(21) == 42
    assert "NUMBA_CACHE_DIR" in caplog.text


@pytest.mark.skipif(ctypes.util.find_library("EGL") is None, reason="needs libegl1")
def test_pyrender_draws_the_same_silhouette_and_depth() -> None:
    pytest.importorskip("pyrender")
    ball = sphere(60)
    ours = rasterise(ball.vertices, ball.faces, CAMERA)
    theirs = rasterise(ball.vertices, ball.faces, CAMERA, backend="pyrender")
    assert (ours.mask & theirs.mask).sum() / (ours.mask | theirs.mask).sum() >= 0.995
    both = ours.mask & theirs.mask
    assert np.abs(ours.depth - theirs.depth)[both].max() < 0.002
