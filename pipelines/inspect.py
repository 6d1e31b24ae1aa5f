"""Pictures of what is in a shard: per sample a contact sheet and a side-by-side video, for people to look at."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw

from pipelines.body.render import overlay
from pipelines.body.skeleton import draw_skeleton
from pipelines.clip import Frames
from pipelines.engine.atomic import whole_file
from pipelines.shard_format import Sample, read_shard
from pipelines.video.encode import encode_clip
from pipelines.video.reader import ClipReader, MapsReader

SHEET_ROWS = 6
CELL_HEIGHT = 360
CAPTION = 44
FILM_HEIGHT = 480


def find_shards(path: Path) -> list[Path]:
    """The shard itself, or the shards of a dataset folder as its dataset.json lists them."""
    if path.is_file():
        return [path]
    listing = path / "dataset.json"
    if not listing.is_file():
        raise FileNotFoundError(f"{path} is neither a shard nor an output folder with a dataset.json")
    return [path / "shards" / row["name"] for row in json.loads(listing.read_text())["shards"]]


def inspect_shards(path: Path, out: Path, keys: Sequence[str] = (), limit: int = 8) -> list[Path]:
    """Write `<key>.png` and `<key>.mp4` for up to `limit` samples whose key starts with one of `keys` (none: any)."""
    written: list[Path] = []
    for shard in find_shards(path):
        for sample in read_shard(shard):
            if keys and not sample.key.startswith(tuple(keys)):
                continue
            if len(written) >= 2 * limit:
                return written
            out.mkdir(parents=True, exist_ok=True)
            sheet, film = out / f"{sample.key}.png", out / f"{sample.key}.mp4"
            with whole_file(sheet) as temporary:
                contact_sheet(sample).save(temporary, format="PNG")
            with whole_file(film) as temporary:
                encode_clip(temporary, side_by_side(sample), sample.fps)
            written += [sheet, film]
    return written


def panels(sample: Sample, indices: Sequence[int]) -> Iterator[tuple[int, list[Frames]]]:
    """(frame number, [frame, skeleton map, rendering map, overlay]), each uint8 (H, W, 3), streaming."""
    with ClipReader(sample.video) as video, MapsReader(sample.render) as maps:
        for index in indices:
            frame = video.frames([index])[0]
            shaded, labels = (array[0] for array in maps.frames([index]))
            points, scores = sample.keypoints.points[index], sample.keypoints.scores[index]
            size = (frame.shape[1], frame.shape[0])
            skeleton = draw_skeleton(points, scores, size, feet=True)
            drawn = overlay(frame, shaded, labels, 0.6)
            drawn = np.where(skeleton.any(-1, keepdims=True), cv2.addWeighted(drawn, 0.4, skeleton, 0.6, 0), drawn)
            yield index, [frame, skeleton, shaded, drawn]


def contact_sheet(sample: Sample) -> Image.Image:
    """Six frames, evenly spaced, each as frame, skeleton, rendering and overlay, under a line of facts."""
    length = len(sample.keypoints)
    indices = sorted({round(i) for i in np.linspace(0, length - 1, SHEET_ROWS)})
    rows = []
    for _, pictures in panels(sample, indices):
        scale = CELL_HEIGHT / pictures[0].shape[0]
        rows.append(np.hstack([cv2.resize(p, None, None, scale, scale, cv2.INTER_AREA) for p in pictures]))
    columns = 2 if rows[0].shape[1] < 1600 else 1
    while len(rows) % columns:
        rows.append(np.zeros_like(rows[0]))
    grid = np.vstack([np.hstack(rows[i : i + columns]) for i in range(0, len(rows), columns)])
    sheet = Image.new("RGB", (grid.shape[1], grid.shape[0] + CAPTION), "white")
    sheet.paste(Image.fromarray(grid), (0, CAPTION))
    meta, source = sample.meta, sample.meta["source"]
    facts = (
        f"{sample.key}   {source['name']}   frames {source['start_frame']}-{source['end_frame']}   "
        f"{meta['size'][0]}x{meta['size'][1]}   {float(sample.fps):.2f} fps   licence {meta['licence']}"
    )
    scores = "   ".join(f"{name} {value:.3g}" for name, value in meta["quality"].items())
    draw = ImageDraw.Draw(sheet)
    draw.text((8, 6), facts, fill="black")
    draw.text((8, 24), scores, fill="black")
    return sheet


def side_by_side(sample: Sample) -> Iterator[Frames]:
    """Every frame as one wide picture: frame, skeleton, rendering, overlay."""
    width, height = sample.meta["size"]
    scale = min(1.0, FILM_HEIGHT / height)
    size = (2 * round(width * scale / 2), 2 * round(height * scale / 2))
    for _, pictures in panels(sample, range(len(sample.keypoints))):
        yield np.hstack([cv2.resize(picture, size, None, 0, 0, cv2.INTER_AREA) for picture in pictures])
