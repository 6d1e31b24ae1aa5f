"""Small pictures and films of clips for the page, with faces blurred by default.

    OUT/audit/previews/<key>.webp   frame, skeleton and rendering side by side, from the middle of the clip
    OUT/audit/previews/<key>.mp4    up to four seconds of its frames

Clips that a rule marked as possibly showing a minor or nudity get none. Only some clips get one: those that the page
names, marked ones, and an even sample of the rest.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.audit.page_data import PREVIEWS, shown_keys
from pipelines.audit.page_queries import Tables
from pipelines.audit.previews_faces import blur_people
from pipelines.audit.schema import audit_folder
from pipelines.audit.stored import list_members, read_sample
from pipelines.body.skeleton import draw_skeleton
from pipelines.engine.atomic import whole_file
from pipelines.shard_format import BadSample, Sample
from pipelines.video.encode import encode_clip
from pipelines.video.reader import ClipReader, MapsReader

log = logging.getLogger(__name__)
SHEET_HEIGHT, SHEET_WIDTH = 300, 840
FILM_SIDE = 240
FILM_RATE = 12
FILM_SECONDS = 4
FILM_CRF = 32
LIMIT = 300


@dataclass(frozen=True)
class Made:
    """made, kept (there already), removed (no longer wanted): numbers of clips. failed: (key, why)."""

    made: int
    kept: int
    removed: int
    failed: tuple[tuple[str, str], ...]


def make_previews(
    out: Path, *, limit: int = LIMIT, show_faces: bool = False, progress: Callable[[int, int], None] | None = None
) -> Made:
    """Make the previews that the page of OUT/audit needs and has not got; remove all others.

    limit: how many clips have one at most. show_faces: leave people as they are; old previews are made anew. progress:
    (done, of). A preview is as old as its shard at most. Raises FileNotFoundError where there has been no audit.
    """
    out = Path(out)
    tables = Tables(out)
    chosen = chosen_clips(tables, limit)
    folder = audit_folder(out) / PREVIEWS
    folder.mkdir(parents=True, exist_ok=True)
    removed = _remove(folder, {key for keys in chosen.values() for key in keys}, show_faces)
    made = kept = 0
    failed: list[tuple[str, str]] = []
    for name, keys in chosen.items():
        shard = out / "shards" / name
        wanted = [key for key in keys if not _fresh(folder, key, shard)]
        kept += len(keys) - len(wanted)
        contents = list_members(shard) if wanted and shard.is_file() else None
        for key in wanted:
            try:
                if contents is None or key not in contents.samples:
                    raise BadSample(f"{name} does not hold it")
                make_preview(folder, read_sample(shard, key, contents.samples[key]), show_faces=show_faces)
                made += 1
            except (BadSample, ValueError) as error:
                failed.append((key, str(error)))
                log.info("no preview of %s: %s", key, error)
            if progress:
                progress(made + kept + len(failed), sum(map(len, chosen.values())))
    return Made(made, kept, removed, tuple(failed))


def chosen_clips(tables: Tables, limit: int) -> dict[str, list[str]]:
    """Keys by shard, at most `limit`: clips that the page names, then marked ones, then an even sample by hash."""
    pairs, _ = tables.pairs()
    named = shown_keys(pairs, tables.worst(), tables.identities())
    tables.connection.execute("create or replace temp table named (key varchar)")
    tables.connection.execute("insert into named select unnest(?)", [named])
    tables.connection.execute("create or replace temp table unseen (key varchar)")
    tables.connection.execute("insert into unseen select unnest(?)", [tables.sensitive()])
    rows = tables.rows(
        "select c.key as key, c.shard as shard from clips c left join (select distinct key from named) n using (key) "
        "where c.state = 'kept' and c.shard is not null and c.corrupt is null "
        "and not exists (select 1 from unseen u where u.key = c.key) "
        f"order by (n.key is null), coalesce(len(c.flags), 0) = 0, hash(c.key) limit {int(limit)}"
    )
    chosen: dict[str, list[str]] = {}
    for row in rows:
        if Path(row["shard"]).name == row["shard"]:
            chosen.setdefault(row["shard"], []).append(row["key"])
    return chosen


def _remove(folder: Path, keep: set[str], show_faces: bool) -> int:
    """Remove previews of clips that are not to have one. A change of `show_faces` makes all of them anew."""
    state = folder / "faces"
    shown = "shown" if show_faces else "blurred"
    if not state.is_file() or state.read_text() != shown:
        keep = set()
        state.unlink(missing_ok=True)
    gone = set()
    for path in folder.iterdir():
        if path.suffix in (".webp", ".mp4") and path.stem not in keep:
            path.unlink()
            gone.add(path.stem)
    with whole_file(state) as temporary:
        temporary.write_text(shown)
    return len(gone)


def _fresh(folder: Path, key: str, shard: Path) -> bool:
    film = folder / f"{key}.mp4"
    return film.is_file() and shard.is_file() and film.stat().st_mtime >= shard.stat().st_mtime


def make_preview(folder: Path, sample: Sample, *, show_faces: bool = False) -> None:
    """Write the sheet and the film of one sample. Raises `BadSample` or ValueError for videos that do not decode."""
    with ClipReader(sample.video) as video, MapsReader(sample.render) as maps:
        frames = min(len(video), len(sample.keypoints))
        if frames == 0:
            raise BadSample("has no frames")
        middle = frames // 2
        picture = video.frames([middle])[0]
        shown = picture if show_faces else blur_people(picture, sample.keypoints, middle)
        with whole_file(folder / f"{sample.key}.webp") as temporary:
            _sheet(sample, middle, shown, maps.frames([middle])[0][0]).save(temporary, format="WEBP", quality=72)
        step = max(1, round(float(sample.fps) / FILM_RATE))
        indices = range(0, min(frames, round(FILM_SECONDS * sample.fps)), step)
        film = [_small(video, index, sample, show_faces) for index in indices]
    with whole_file(folder / f"{sample.key}.mp4") as temporary:
        encode_clip(temporary, film, Fraction(sample.fps) / step, crf=FILM_CRF)


def _small(video: ClipReader, index: int, sample: Sample, show_faces: bool) -> NDArray[np.uint8]:
    picture = video.frames([index])[0]
    if not show_faces:
        picture = blur_people(picture, sample.keypoints, index)
    scale = min(1.0, FILM_SIDE / min(picture.shape[:2]))
    size = (2 * max(1, round(picture.shape[1] * scale / 2)), 2 * max(1, round(picture.shape[0] * scale / 2)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _sheet(sample: Sample, index: int, picture: NDArray[np.uint8], render: NDArray[np.uint8]) -> Image.Image:
    height, width = picture.shape[:2]
    skeleton = draw_skeleton(sample.keypoints.points[index], sample.keypoints.scores[index], (width, height))
    panels: Sequence[NDArray[np.uint8]] = (picture, skeleton, render)
    scale = min(SHEET_HEIGHT / height, SHEET_WIDTH / (3 * width), 1.0)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return Image.fromarray(np.hstack([cv2.resize(panel, size, interpolation=cv2.INTER_AREA) for panel in panels]))
