"""Compiled inner loops of the rasteriser: projection, clipping, visibility, vertex normals, shading.

All of it is plain scalar code for numba, single-threaded and without fast-math, so that the same input gives the same
bytes everywhere. Visibility is resolved first (inverse depth and face index per pixel); what a pixel shows is computed
afterwards, once per pixel, from the ray through its centre, which needs neither the clipped nor the snapped triangle.
"""

from __future__ import annotations

import numpy as np

from pipelines.body.compiled import compiled

# Screen positions are snapped to 1/256 pixel, which makes edge tests exact: shared edges neither gape nor overlap.
SUBPIXEL = 256
HALF = SUBPIXEL // 2
# Pixels. Beyond it a triangle is clipped at the sides as well, which keeps products of coordinates inside 64 bits.
GUARD = 1 << 20


@compiled
def vertex_normals(vertices, faces, normals):
    """Area-weighted unit normals into `normals` float32 (V, 3); zero for vertices of no face or of empty faces only."""
    normals[:] = 0
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ux = vertices[b, 0] - vertices[a, 0]
        uy = vertices[b, 1] - vertices[a, 1]
        uz = vertices[b, 2] - vertices[a, 2]
        vx = vertices[c, 0] - vertices[a, 0]
        vy = vertices[c, 1] - vertices[a, 1]
        vz = vertices[c, 2] - vertices[a, 2]
        nx = uy * vz - uz * vy
        ny = uz * vx - ux * vz
        nz = ux * vy - uy * vx
        for v in (a, b, c):
            normals[v, 0] += nx
            normals[v, 1] += ny
            normals[v, 2] += nz
    for v in range(normals.shape[0]):
        x, y, z = normals[v, 0], normals[v, 1], normals[v, 2]
        length = np.sqrt(x * x + y * y + z * z)
        if length > 0:
            normals[v, 0] = x / length
            normals[v, 1] = y / length
            normals[v, 2] = z / length


@compiled
def project(vertices, focal, cx, cy, near, screen, inverse):
    """Snapped screen positions (V, 2) int64 and 1/z (V,) float64. 1/z is 0 where a vertex cannot be used unclipped."""
    for v in range(vertices.shape[0]):
        z = np.float64(vertices[v, 2])
        inverse[v] = 0.0
        if z >= near:
            x = focal * vertices[v, 0] / z + cx
            y = focal * vertices[v, 1] / z + cy
            if -GUARD < x < GUARD and -GUARD < y < GUARD:
                screen[v, 0] = np.int64(np.floor(x * SUBPIXEL + 0.5))
                screen[v, 1] = np.int64(np.floor(y * SUBPIXEL + 0.5))
                inverse[v] = 1.0 / z


@compiled
def fill(x0, y0, i0, x1, y1, i1, x2, y2, i2, face, depth, index):
    """One screen triangle (snapped x, y and 1/z per corner) into `depth` (1/z, larger is nearer) and `index`.

    A pixel belongs to the triangle that holds its centre; centres on an edge go by the top-left rule.
    """
    area = (x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0)
    if area == 0:
        return
    if area < 0:
        x1, y1, i1, x2, y2, i2 = x2, y2, i2, x1, y1, i1
        area = -area
    height, width = depth.shape
    left = max((min(x0, x1, x2) + HALF - 1) >> 8, 0)
    right = min((max(x0, x1, x2) - HALF) >> 8, width - 1)
    top = max((min(y0, y1, y2) + HALF - 1) >> 8, 0)
    bottom = min((max(y0, y1, y2) - HALF) >> 8, height - 1)
    if left > right or top > bottom:
        return

    # Edge functions e = a*x + b*y + c, positive inside; edge k faces corner k.
    dx0, dy0 = x2 - x1, y2 - y1
    dx1, dy1 = x0 - x2, y0 - y2
    dx2, dy2 = x1 - x0, y1 - y0
    px = left * SUBPIXEL + HALF
    py = top * SUBPIXEL + HALF
    e0 = dx0 * (py - y1) - dy0 * (px - x1)
    e1 = dx1 * (py - y2) - dy1 * (px - x2)
    e2 = dx2 * (py - y0) - dy2 * (px - x0)
    # 1/z is linear on the screen.
    scale = 1.0 / np.float64(area)
    z_row = i0 + (np.float64(e1) * (i1 - i0) + np.float64(e2) * (i2 - i0)) * scale
    z_x = -(np.float64(dy1) * (i1 - i0) + np.float64(dy2) * (i2 - i0)) * scale * SUBPIXEL
    z_y = (np.float64(dx1) * (i1 - i0) + np.float64(dx2) * (i2 - i0)) * scale * SUBPIXEL
    # Only top and left edges own the centres that lie on them.
    if not (dy0 < 0 or (dy0 == 0 and dx0 > 0)):
        e0 -= 1
    if not (dy1 < 0 or (dy1 == 0 and dx1 > 0)):
        e1 -= 1
    if not (dy2 < 0 or (dy2 == 0 and dx2 > 0)):
        e2 -= 1
    a0, a1, a2 = -dy0 * SUBPIXEL, -dy1 * SUBPIXEL, -dy2 * SUBPIXEL
    b0, b1, b2 = dx0 * SUBPIXEL, dx1 * SUBPIXEL, dx2 * SUBPIXEL

    wide = right - left >= 12
    for y in range(top, bottom + 1):
        first, last = 0, right - left
        if wide:
            # A long row is cut to its span first; a short one is cheaper to test pixel by pixel.
            for e, a in ((e0, a0), (e1, a1), (e2, a2)):
                if a > 0:
                    first = max(first, -(e // a))
                elif a < 0:
                    last = min(last, e // -a)
                elif e < 0:
                    last = -1
            for k in range(first, last + 1):
                z = np.float32(z_row + z_x * k)
                if z > depth[y, left + k]:
                    depth[y, left + k] = z
                    index[y, left + k] = face
        else:
            f0, f1, f2 = e0, e1, e2
            for k in range(last + 1):
                if (f0 | f1 | f2) >= 0:
                    z = np.float32(z_row + z_x * k)
                    if z > depth[y, left + k]:
                        depth[y, left + k] = z
                        index[y, left + k] = face
                f0 += a0
                f1 += a1
                f2 += a2
        e0 += b0
        e1 += b1
        e2 += b2
        z_row += z_y


@compiled
def clip_and_fill(corners, focal, cx, cy, near, face, depth, index):
    """A triangle that leaves the safe region: cut by the near plane and the four guard planes, then filled as a fan.

    The cut of an edge is computed from its inner end, so both triangles of a shared edge get the same point.
    """
    planes = np.array(
        [
            [0.0, 0.0, 1.0, -near],
            [focal, 0.0, cx + (GUARD - 2), 0.0],
            [-focal, 0.0, (GUARD - 2) - cx, 0.0],
            [0.0, focal, cy + (GUARD - 2), 0.0],
            [0.0, -focal, (GUARD - 2) - cy, 0.0],
        ]
    )
    polygon = np.empty((10, 3))
    polygon[:3] = corners
    clipped = np.empty((10, 3))
    count = 3
    for p in range(5):
        kept = 0
        for i in range(count):
            j = (i + 1) % count
            s = polygon[i] @ planes[p, :3] + planes[p, 3]
            t = polygon[j] @ planes[p, :3] + planes[p, 3]
            if s >= 0:
                clipped[kept] = polygon[i]
                kept += 1
                if t < 0:
                    clipped[kept] = polygon[i] + (polygon[j] - polygon[i]) * (s / (s - t))
                    kept += 1
            elif t >= 0:
                clipped[kept] = polygon[j] + (polygon[i] - polygon[j]) * (t / (t - s))
                kept += 1
        count = kept
        polygon[:count] = clipped[:count]
        if count < 3:
            return
    xs = np.empty(10, np.int64)
    ys = np.empty(10, np.int64)
    inv = np.empty(10)
    for i in range(count):
        z = max(polygon[i, 2], near)
        inv[i] = 1.0 / z
        xs[i] = np.int64(np.floor((focal * polygon[i, 0] / z + cx) * SUBPIXEL + 0.5))
        ys[i] = np.int64(np.floor((focal * polygon[i, 1] / z + cy) * SUBPIXEL + 0.5))
    for i in range(1, count - 1):
        fill(xs[0], ys[0], inv[0], xs[i], ys[i], inv[i], xs[i + 1], ys[i + 1], inv[i + 1], face, depth, index)


@compiled
def resolve(vertices, faces, screen, inverse, focal, cx, cy, near, depth, index):
    """Visibility: `depth` float32 (H, W) becomes 1/z (0 = nothing), `index` int32 (H, W) the face (-1 = none)."""
    depth[:] = 0
    index[:] = -1
    corners = np.empty((3, 3))
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        if inverse[a] > 0 and inverse[b] > 0 and inverse[c] > 0:
            fill(
                screen[a, 0], screen[a, 1], inverse[a],
                screen[b, 0], screen[b, 1], inverse[b],
                screen[c, 0], screen[c, 1], inverse[c],
                f, depth, index,
            )  # fmt: skip
        elif vertices[a, 2] >= near or vertices[b, 2] >= near or vertices[c, 2] >= near:
            for k in range(3):
                corners[0, k] = vertices[a, k]
                corners[1, k] = vertices[b, k]
                corners[2, k] = vertices[c, k]
            clip_and_fill(corners, focal, cx, cy, near, f, depth, index)


@compiled
def barycentric(vertices, a, b, c, rx, ry):
    """Perspective-correct weights of the ray (rx, ry, 1) in a triangle, not yet divided by their sum; True for a back.

    Weights are clamped to the triangle: snapping may place a pixel's centre a hair outside it.
    """
    ax, ay, az = np.float64(vertices[a, 0]), np.float64(vertices[a, 1]), np.float64(vertices[a, 2])
    bx, by, bz = np.float64(vertices[b, 0]), np.float64(vertices[b, 1]), np.float64(vertices[b, 2])
    cx, cy, cz = np.float64(vertices[c, 0]), np.float64(vertices[c, 1]), np.float64(vertices[c, 2])
    wa = rx * (by * cz - bz * cy) + ry * (bz * cx - bx * cz) + (bx * cy - by * cx)
    wb = rx * (cy * az - cz * ay) + ry * (cz * ax - cx * az) + (cx * ay - cy * ax)
    wc = rx * (ay * bz - az * by) + ry * (az * bx - ax * bz) + (ax * by - ay * bx)
    back = wa + wb + wc > 0
    if not back:
        wa, wb, wc = -wa, -wb, -wc
    wa, wb, wc = max(wa, 0.0), max(wb, 0.0), max(wc, 0.0)
    if wa + wb + wc <= 0:
        return 1.0, 1.0, 1.0, back
    return wa, wb, wc, back


@compiled
def interpolate(vertices, faces, index, focal, cx, cy, attributes, output):
    """Vertex attributes (V, C) at every covered pixel into `output` float32 (H, W, C); the rest stays as it is."""
    height, width = index.shape
    channels = attributes.shape[1]
    for y in range(height):
        ry = (y + 0.5 - cy) / focal
        for x in range(width):
            f = index[y, x]
            if f < 0:
                continue
            a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
            wa, wb, wc, _ = barycentric(vertices, a, b, c, (x + 0.5 - cx) / focal, ry)
            share = 1.0 / (wa + wb + wc)
            for k in range(channels):
                output[y, x, k] = (wa * attributes[a, k] + wb * attributes[b, k] + wc * attributes[c, k]) * share


@compiled
def light_vertices(vertices, normals, ambient, head, lights, light):
    """How bright each vertex is, seen from its front and from its back, into `light` float32 (V, 2).

    lights: float32 (L, 4), unit direction towards the light and its strength. head: strength of a light at the camera.
    """
    zero = np.float32(0)
    for v in range(vertices.shape[0]):
        x, y, z = vertices[v, 0], vertices[v, 1], vertices[v, 2]
        nx, ny, nz = normals[v, 0], normals[v, 1], normals[v, 2]
        distance = np.sqrt(x * x + y * y + z * z)
        facing = -(x * nx + y * ny + z * nz) / distance if distance > zero else zero
        front = ambient + head * max(facing, zero)
        back = ambient + head * max(-facing, zero)
        for i in range(lights.shape[0]):
            cosine = nx * lights[i, 0] + ny * lights[i, 1] + nz * lights[i, 2]
            front += lights[i, 3] * max(cosine, zero)
            back += lights[i, 3] * max(-cosine, zero)
        light[v, 0] = front
        light[v, 1] = back


@compiled
def shade(vertices, faces, light, colors, index, focal, cx, cy, shaded):
    """Lit colour of every covered pixel into `shaded` uint8 (H, W, 3), black elsewhere.

    colors: float32 (V, 3), or (1, 3) for one colour, 0 to 255. Over a face, colour times light is interpolated in
    space: for a ray d = (rx, ry, 1) that is (C . d) / (S . d), with S and one C per channel fixed for the face.
    """
    height, width = index.shape
    single = colors.shape[0] == 1
    channels = 1 if single else 3
    step = 1.0 / focal
    planes = np.empty((3, 3))
    low = np.empty(3)
    high = np.empty(3)
    s0 = s1 = s2 = 0.0
    last = -1
    for y in range(height):
        ry = (y + 0.5 - cy) * step
        for x in range(width):
            f = index[y, x]
            if f < 0:
                shaded[y, x, 0] = 0
                shaded[y, x, 1] = 0
                shaded[y, x, 2] = 0
                continue
            if f != last:
                last = f
                a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
                ax, ay, az = np.float64(vertices[a, 0]), np.float64(vertices[a, 1]), np.float64(vertices[a, 2])
                bx, by, bz = np.float64(vertices[b, 0]), np.float64(vertices[b, 1]), np.float64(vertices[b, 2])
                ex, ey, ez = np.float64(vertices[c, 0]), np.float64(vertices[c, 1]), np.float64(vertices[c, 2])
                p0, p1, p2 = by * ez - bz * ey, bz * ex - bx * ez, bx * ey - by * ex
                q0, q1, q2 = ey * az - ez * ay, ez * ax - ex * az, ex * ay - ey * ax
                r0, r1, r2 = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
                s0, s1, s2 = p0 + q0 + r0, p1 + q1 + r1, p2 + q2 + r2
                side = 1 if ax * p0 + ay * p1 + az * p2 > 0 else 0
                for k in range(channels):
                    u, v, w = np.float64(light[a, side]), np.float64(light[b, side]), np.float64(light[c, side])
                    if not single:
                        u, v, w = u * colors[a, k], v * colors[b, k], w * colors[c, k]
                    planes[k, 0] = u * p0 + v * q0 + w * r0
                    planes[k, 1] = u * p1 + v * q1 + w * r1
                    planes[k, 2] = u * p2 + v * q2 + w * r2
                    low[k] = min(u, v, w)
                    high[k] = max(u, v, w)
            rx = (x + 0.5 - cx) * step
            share = s0 * rx + s1 * ry + s2
            share = 1.0 / share if share != 0.0 else 0.0
            for k in range(channels):
                # Clamped, because snapping may place a pixel's centre a hair outside its face.
                value = (planes[k, 0] * rx + planes[k, 1] * ry + planes[k, 2]) * share
                value = min(max(value, low[k]), high[k])
                if single:
                    for j in range(3):
                        shaded[y, x, j] = np.uint8(min(value * colors[0, j] + 0.5, 255.0))
                else:
                    shaded[y, x, k] = np.uint8(min(value + 0.5, 255.0))


@compiled
def see_normals(vertices, faces, normals, index, focal, cx, cy, seen):
    """Unit normals of every covered pixel, turned round where the back is seen, into `seen` float32 (H, W, 3)."""
    height, width = index.shape
    for y in range(height):
        ry = (y + 0.5 - cy) / focal
        for x in range(width):
            f = index[y, x]
            if f < 0:
                continue
            a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
            wa, wb, wc, back = barycentric(vertices, a, b, c, (x + 0.5 - cx) / focal, ry)
            nx = wa * normals[a, 0] + wb * normals[b, 0] + wc * normals[c, 0]
            ny = wa * normals[a, 1] + wb * normals[b, 1] + wc * normals[c, 1]
            nz = wa * normals[a, 2] + wb * normals[b, 2] + wc * normals[c, 2]
            length = np.sqrt(nx * nx + ny * ny + nz * nz)
            scale = 1.0 / length if length > 0 else 0.0
            if back:
                scale = -scale
            seen[y, x, 0] = nx * scale
            seen[y, x, 1] = ny * scale
            seen[y, x, 2] = nz * scale


@compiled
def read_out(inverse, index, face_labels, depth, labels, alpha):
    """Depth in metres, part label and coverage of every pixel. An empty `face_labels` means 1 for every face."""
    height, width = index.shape
    plain = face_labels.shape[0] == 0
    for y in range(height):
        for x in range(width):
            f = index[y, x]
            if f < 0:
                depth[y, x] = 0
                labels[y, x] = 0
                alpha[y, x] = 0
            else:
                depth[y, x] = np.float32(1.0) / inverse[y, x]
                labels[y, x] = 1 if plain else face_labels[f]
                alpha[y, x] = 255


@compiled
def halve(large, index, small, alpha):
    """The mean of 2x2 samples: `large` uint8 (2H, 2W, 3) and its coverage, to `small` (H, W, 3) and `alpha` (H, W)."""
    height, width = alpha.shape
    for y in range(height):
        for x in range(width):
            covered = 0
            for j in range(2):
                for i in range(2):
                    covered += index[2 * y + j, 2 * x + i] >= 0
            alpha[y, x] = (covered * 255 + 2) // 4
            for k in range(3):
                total = 2
                for j in range(2):
                    for i in range(2):
                        total += large[2 * y + j, 2 * x + i, k]
                small[y, x, k] = total // 4
