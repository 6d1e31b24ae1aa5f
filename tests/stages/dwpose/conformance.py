"""Conformance nets: ONNX files with the graph interface of the published YOLOX and DWPose files, and known answers.

`python -m tests.stages.dwpose.conformance FOLDER` writes `yolox_l.onnx` and `dw-ll_ucoco_384.onnx`, with which the
`full` profile runs on any video: the detector boxes what differs from the picture's first pixel, and the pose net
puts a standing person into the box.

Interfaces: yolox_l.onnx   images (1, 3, 640, 640) -> output (1, 8400, 85)
            dw-ll_ucoco_384.onnx  input (1, 3, 384, 288) -> simcc_x (1, 133, 576), simcc_y (1, 133, 768)
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipelines.stages.dwpose.crop import DEVIATION, MEAN
from tests.stages.dwpose.graphs import Graph

YOLOX_L, DWPOSE_384 = "yolox_l.onnx", "dw-ll_ucoco_384.onnx"
STRIDES = (8, 16, 32)
POINTS = 133
# Colours that no two points share, at least 51 apart, none of them grey.
COLOURS = np.array(
    [
        (r, g, b)
        for r in range(0, 256, 51)
        for g in range(0, 256, 51)
        for b in range(0, 256, 51)
        if max(r, g, b) - min(r, g, b) > 60
    ]
)[:POINTS]


def cells(height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Column and row (N, 2), stride (N, 1) of YOLOX's cells."""
    places, strides = [], []
    for stride in STRIDES:
        for row in range(height // stride):
            for column in range(width // stride):
                places.append((column, row))
                strides.append((stride,))
    return np.array(places, np.float32), np.array(strides, np.float32)


def silhouette_yolox(
    path: Path,
    size: tuple[int, int] = (640, 640),
    classes: int = 80,
    batch: int | str = 1,
    channel: int | None = None,
    depth: int | None = None,
) -> Path:
    """A detector that boxes, exactly, all pixels that differ from the first one by more than 60, canvas aside.

    channel: look at this channel of the net's input only. depth: of a backbone that adds cost and nothing else; 6 costs
    what the large net costs, 78 billion multiplications. Every cell gives the same box, surer near its centre, so that
    suppression has to leave one. Nobody is there when nothing differs.
    """
    height, width = size
    graph = Graph()
    picture = "images"
    if channel is not None:
        picture = graph.op("Gather", picture, graph.weight([channel], np.int64), axis=1)
    first = graph.op("Slice", picture, *(graph.weight(v, np.int64) for v in ([0, 0], [1, 1], [2, 3])))
    other = graph.op("ReduceMax", graph.op("Abs", graph.op("Sub", picture, first)), axes=[1], keepdims=1)
    canvas = graph.op("ReduceMax", graph.op("Abs", graph.op("Sub", picture, graph.weight(114.0))), axes=[1], keepdims=1)
    both = graph.op(
        "And", graph.op("Greater", other, graph.weight(60.0)), graph.op("Greater", canvas, graph.weight(0.5))
    )
    mask = graph.op("Cast", both, to=1)
    sides = []
    for axis, length in ((3, width), (2, height)):
        profile = graph.op("ReduceMax", mask, axes=[5 - axis], keepdims=1)
        profile = graph.reshape(profile, (-1, length))
        rising = graph.op("Mul", profile, graph.weight(np.arange(1, length + 1)))
        falling = graph.op("Mul", profile, graph.weight(np.arange(length, 0, -1)))
        high = graph.op("ReduceMax", rising, axes=[1], keepdims=1)
        low = graph.op("Sub", graph.weight(float(length)), graph.op("ReduceMax", falling, axes=[1], keepdims=1))
        sides.append((low, high))
    low = graph.op("Concat", sides[0][0], sides[1][0], axis=1)
    high = graph.op("Concat", sides[0][1], sides[1][1], axis=1)
    low, high = graph.reshape(low, (-1, 1, 2)), graph.reshape(high, (-1, 1, 2))
    place, stride = cells(height, width)
    centre = graph.op("Mul", graph.op("Add", low, high), graph.weight(0.5))
    xy = graph.op("Sub", graph.op("Div", centre, graph.weight(stride)), graph.weight(place))
    extent = graph.op("Max", graph.op("Sub", high, low), graph.weight(1e-3))
    wh = graph.op("Log", graph.op("Div", extent, graph.weight(stride)))
    away = graph.op("Sub", centre, graph.weight((place + 0.5) * stride))
    far = graph.op("ReduceSum", graph.op("Mul", away, away), graph.weight([2], np.int64), keepdims=1)
    near = graph.op("Exp", graph.op("Mul", far, graph.weight(-1 / 60**2)))
    seen = graph.op("ReduceMax", graph.reshape(mask, (-1, 1, height * width)), axes=[2], keepdims=1)
    objectness = graph.op("Mul", graph.op("Mul", near, seen), graph.weight(0.95))
    if depth is not None:
        deep, _ = _backbone(
            graph, graph.op("Mul", "images", graph.weight(1 / 255)), np.random.default_rng(0), 1.0, depth
        )
        mean = graph.reshape(graph.op("ReduceMean", deep, axes=[1, 2, 3], keepdims=1), (-1, 1, 1))
        objectness = graph.op("Add", objectness, graph.op("Mul", mean, graph.weight(1e-9)))
    odds = np.full((1, 1, classes), 0.02)
    odds[..., 0] = 0.98
    kinds = graph.op(
        "Mul", graph.op("Add", graph.op("Mul", objectness, graph.weight(0.0)), graph.weight(1.0)), graph.weight(odds)
    )
    graph.op("Concat", xy, wh, objectness, kinds, axis=2, name="output")
    return graph.write(path, {"images": (batch, 3, height, width)}, {"output": (batch, len(place), 5 + classes)})


def random_yolox(
    path: Path, size: tuple[int, int] = (640, 640), classes: int = 80, batch: int | str = 1, seed: int = 0
) -> Path:
    """A detector with small random weights: many overlapping boxes of all classes, placed by the picture."""
    rng = np.random.default_rng(seed)
    graph = Graph()
    scaled = graph.op("Mul", "images", graph.weight(1 / 128))
    levels = []
    for stride in STRIDES:
        patches = graph.conv(scaled, rng.normal(0, 1 / stride, (12, 3, stride, stride)), rng.normal(0, 0.3, 12), stride)
        kernel = rng.normal(0, 0.3, (5 + classes, 12, 1, 1))
        bias = np.concatenate([[0.5, 0.5, 0.8, 1.2, -1.5], rng.normal(-1, 1, classes)])
        bias[5] = 0.5
        raw = graph.reshape(graph.conv(graph.op("Relu", patches), kernel, bias), (-1, 5 + classes, area(size, stride)))
        levels.append(graph.op("Transpose", raw, perm=[0, 2, 1]))
    joined = graph.op("Concat", *levels, axis=1)
    place = graph.op("Slice", joined, *(graph.weight(v, np.int64) for v in ([0], [4], [2])))
    odds = graph.op("Slice", joined, *(graph.weight(v, np.int64) for v in ([4], [5 + classes], [2])))
    count = sum(area(size, stride) for stride in STRIDES)
    # No two cells are equally sure, not even on a plain background: their order would be anybody's choice.
    odds = graph.op("Add", odds, graph.weight(rng.normal(0, 0.3, (1, count, 1))))
    near = graph.op("Mul", graph.op("Tanh", place), graph.weight(2.0))
    graph.op("Concat", near, graph.op("Sigmoid", odds), axis=2, name="output")
    return graph.write(path, {"images": (batch, 3, *size)}, {"output": (batch, count, 5 + classes)})


def area(size: tuple[int, int], stride: int) -> int:
    return (size[0] // stride) * (size[1] // stride)


def _backbone(graph: Graph, x: str, rng: np.random.Generator, width: float, depth: int) -> tuple[str, int]:
    """Five halvings of the picture with `depth` more convolutions after each but the first; and the channels."""
    channels = 3
    for index, base in enumerate((64, 128, 256, 512, 512)):
        wide = max(8, int(base * width))
        for step in range(1 if index == 0 else 1 + depth):
            kernel = rng.normal(0, np.sqrt(2 / (channels * 9)), (wide, channels, 3, 3))
            x = graph.op("Relu", graph.conv(x, kernel, rng.normal(0, 0.1, wide), 2 if step == 0 else 1))
            channels = wide
    return x, channels


def _simcc_of_maps(graph: Graph, maps: str, size: tuple[int, int], bins: int, smoothing: float) -> None:
    """Responses (N, K, H, W) summed along each axis, refined so that bin b stands for pixel b / bins, and smoothed."""
    height, width = size
    reach = int(3 * smoothing * bins)
    bell = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * (smoothing * bins) ** 2))
    for axis, length, name in ((2, width, "simcc_x"), (3, height, "simcc_y")):
        profile = graph.op("ReduceSum", maps, graph.weight([axis], np.int64), keepdims=0)
        lines = graph.reshape(profile, (-1, 1, length))
        fine = graph.op(
            "Resize", lines, "", graph.weight([1, 1, bins]), mode="linear", coordinate_transformation_mode="asymmetric"
        )
        soft = graph.op("Conv", fine, graph.weight(bell[None, None] / bins * 0.05), pads=[reach, reach])
        graph.reshape(soft, (-1, POINTS, length * bins), name=name)


def _pose_interface(size: tuple[int, int], batch: int | str, bins: int, points: int = POINTS) -> tuple[dict, dict]:
    height, width = size
    return (
        {"input": (batch, 3, height, width)},
        {"simcc_x": (batch, points, width * bins), "simcc_y": (batch, points, height * bins)},
    )


def colour_pose(path: Path, size: tuple[int, int] = (384, 288), batch: int | str = 1, bins: int = 2) -> Path:
    """A pose net that finds point k where the picture has COLOURS[k], in R, G, B: exact to half a bin."""
    graph = Graph()
    pixels = graph.op(
        "Add", graph.op("Mul", "input", graph.weight(DEVIATION.reshape(3, 1, 1))), graph.weight(MEAN.reshape(3, 1, 1))
    )
    squares = graph.op("ReduceSum", graph.op("Mul", pixels, pixels), graph.weight([1], np.int64), keepdims=1)
    colours = COLOURS.astype(np.float64)
    linear = graph.conv(pixels, -2 * colours[:, :, None, None], (colours**2).sum(1))
    distance = graph.op("Add", squares, linear)
    maps = graph.op("Exp", graph.op("Mul", distance, graph.weight(-1 / (2 * 12.0**2))))
    _simcc_of_maps(graph, maps, size, bins, 2.0)
    return graph.write(path, *_pose_interface(size, batch, bins))


def random_pose(
    path: Path,
    size: tuple[int, int] = (384, 288),
    batch: int | str = 1,
    bins: int = 2,
    points: int = POINTS,
    seed: int = 0,
    width: float = 0.25,
    depth: int = 1,
    names: tuple[str, str] = ("simcc_x", "simcc_y"),
) -> Path:
    """A pose net with random weights, laid out as RTMPose is: strides to 32, a map a point, then layers an axis.

    It answers with bells, as the trained nets do, whose places move smoothly with the picture: so that a grey level of
    difference does not make a point jump.
    width, depth: 1 and 2 cost about what the large net costs, 9 billion multiplications.
    """
    rng = np.random.default_rng(seed)
    graph = Graph()
    x, channels = _backbone(graph, "input", rng, width, depth)
    maps = graph.conv(x, rng.normal(0, np.sqrt(1 / channels), (points, channels, 1, 1)), np.zeros(points))
    places = area(size, 32)
    flat = graph.reshape(maps, (-1, points, places))
    inputs, outputs = _pose_interface(size, batch, bins, points)
    for name, shape in zip(names, outputs.values()):
        length = int(shape[-1])
        place, sure = (
            graph.op(
                "Sigmoid", graph.op("MatMul", flat, graph.weight(rng.normal(0, 0.7 / np.sqrt(places), (places, 1))))
            )
            for _ in range(2)
        )
        away = graph.op("Sub", graph.op("Mul", place, graph.weight(float(length))), graph.weight(np.arange(length)))
        peak = graph.op("Exp", graph.op("Mul", graph.op("Mul", away, away), graph.weight(-1 / (2 * 6.0**2))))
        graph.op("Mul", peak, sure, name=name)
    return graph.write(path, inputs, dict(zip(names, outputs.values())))


def standing_person() -> NDArray[np.float32]:
    """(133, 2): a person who stands and faces the camera, arms out a little, in shares of the tight box."""
    body = [
        (0.50, 0.08),
        (0.53, 0.06),
        (0.47, 0.06),
        (0.56, 0.07),
        (0.44, 0.07),
        (0.64, 0.20),
        (0.36, 0.20),
        (0.76, 0.33),
        (0.24, 0.33),
        (0.88, 0.45),
        (0.12, 0.45),
        (0.58, 0.52),
        (0.42, 0.52),
        (0.59, 0.73),
        (0.41, 0.73),
        (0.60, 0.93),
        (0.40, 0.93),
    ]
    feet = [(0.63, 0.99), (0.67, 0.98), (0.59, 0.95), (0.37, 0.99), (0.33, 0.98), (0.41, 0.95)]
    angles = np.linspace(np.pi, 0, 17)
    jaw = np.stack([0.50 - 0.07 * np.cos(angles) * -1, 0.075 + 0.055 * np.sin(angles)], axis=1)
    turn = np.linspace(0, 2 * np.pi, 51, endpoint=False)
    inner = np.stack([0.50 + 0.035 * np.cos(turn), 0.08 + 0.025 * np.sin(turn)], axis=1)
    hands = []
    for wrist, side in (((0.88, 0.45), 1), ((0.12, 0.45), -1)):
        hand = [wrist]
        for finger in range(5):
            for joint in range(1, 5):
                hand.append((wrist[0] + side * (0.02 + 0.02 * joint), wrist[1] + 0.012 * joint * (finger - 1)))
        hands += hand
    return np.array([*body, *feet, *jaw, *inner, *hands], np.float32)


def standing_pose(path: Path, size: tuple[int, int] = (384, 288), batch: int | str = 1, bins: int = 2) -> Path:
    """A pose net that puts `standing_person` into the box, whatever is seen; how sure it is depends on the picture."""
    height, width = size
    # The net sees the crop, which is wider than the box of somebody who stands.
    places = (standing_person() - 0.5) / 1.25 * (0.42 * height / width, 1) + 0.5
    graph = Graph()
    mean = graph.op("ReduceMean", "input", axes=[1, 2, 3], keepdims=1)
    sure = graph.op(
        "Add",
        graph.op("Mul", graph.op("Sigmoid", graph.reshape(mean, (-1, 1, 1))), graph.weight(0.2)),
        graph.weight(0.75),
    )
    inputs, outputs = _pose_interface(size, batch, bins)
    for axis, (name, length) in enumerate((("simcc_x", width * bins), ("simcc_y", height * bins))):
        away = np.arange(length)[None] - places[:, axis, None] * length
        graph.op("Mul", sure, graph.weight(np.exp(-(away**2) / (2 * 6.0**2))[None]), name=name)
    return graph.write(path, inputs, outputs)


def write_nets(folder: Path) -> tuple[Path, Path]:
    """The two files with which the `full` profile runs on any video."""
    return silhouette_yolox(folder / YOLOX_L), standing_pose(folder / DWPOSE_384)


if __name__ == "__main__":
    for written in write_nets(Path(sys.argv[1])):
        print(written)
