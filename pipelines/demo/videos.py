"""The demo videos: four that are fine, one with a cut and a scene that is too short, one with nobody in it."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from pipelines.body.model import Body, load_body
from pipelines.demo.film import Actor, Film, Shot, film_frames
from pipelines.demo.looks import Look
from pipelines.demo.rooms import Room
from pipelines.video.encode import ClipWriter

VERSION = "1"
"""Changes when the same seed and body give other videos."""

MARKER = "demo_videos.json"
UPLOADER, LICENCE, DATE = "VividPose demo", "CC0-1.0", "2026-01-01"
COLUMNS = ("file", "url", "uploader", "title", "licence", "date")

_SUNNY = Room((214, 204, 188), (150, 112, 78), (120, 90, 60), things="window")
_GALLERY = Room((188, 198, 206), (120, 116, 110), (150, 60, 50), boards=0.6, things="pictures")
_LOFT = Room((160, 96, 76), (104, 98, 92), (120, 70, 55), boards=0.9, things="bricks")
_STUDIO = Room((120, 140, 128), (168, 150, 128), (108, 128, 116), boards=0.12, things="stripes")

_ANNA = Actor(
    (-0.5, 0.9, -0.4, 0.2, 0, 0.3, 0, 0, 0, 0),
    Look((226, 178, 150), (70, 40, 24), (70, 50, 30), (184, 84, 84), (40, 90, 150), (230, 230, 225), (52, 56, 70),
         (60, 40, 36), "stripes", sleeve=0.3, long_hair=True),
)  # fmt: skip
_BEN = Actor(
    (0.6, -1.3, 0.5, 0.2, 0.4, -0.5, 0, 0, 0, 0),
    Look((140, 92, 66), (24, 18, 16), (36, 22, 16), (128, 66, 60), (196, 176, 60), (150, 120, 30), (60, 74, 60),
         (230, 230, 230), "plain", sleeve=0.26, legs=-0.86),
)  # fmt: skip
_CLEO = Actor(
    (-0.9, 0.6, 0.8, -0.4, 0.3, -0.2, 0, 0, 0, 0),
    Look((196, 144, 112), (110, 70, 36), (60, 90, 70), (176, 70, 76), (150, 40, 60), (90, 20, 36), (36, 36, 44),
         (120, 30, 40), "checks", sleeve=0.64, long_hair=True),
)  # fmt: skip
_DAN = Actor(
    (1.2, -1.0, -0.3, 0.6, -0.5, -0.4, 0, 0, 0, 0),
    Look((232, 190, 166), (170, 120, 60), (70, 110, 150), (190, 100, 96), (70, 120, 84), (40, 70, 50), (86, 92, 120),
         (40, 40, 44), "stripes", sleeve=0.66),
)  # fmt: skip

_PORTRAIT, _LANDSCAPE = (512, 768), (768, 512)
FILMS = (
    Film("wave", "Anna waves", _PORTRAIT, Fraction(25), (Shot(_SUNNY, 4.0, _ANNA, "wave"),)),
    Film("squat", "Ben squats", _PORTRAIT, Fraction(30), (Shot(_LOFT, 3.6, _BEN, "squat", 0.74),)),
    Film("dance", "Cleo dances", _PORTRAIT, Fraction(24), (Shot(_GALLERY, 5.0, _CLEO, "dance", 0.78),)),
    Film("walk", "Dan walks by", _LANDSCAPE, Fraction(25), (Shot(_STUDIO, 3.4, _DAN, "walk", 0.72),)),
    Film(
        "cut",
        "Ben turns, and a scene of one second",
        _PORTRAIT,
        Fraction(25),
        (Shot(_GALLERY, 3.2, _BEN, "turn"), Shot(_SUNNY, 1.2, _CLEO, "wave", 0.7, start=2.0)),
    ),
    Film("nobody", "An empty room", _PORTRAIT, Fraction(25), (Shot(_STUDIO, 3.0),)),
)


def make_demo_videos(
    folder: Path | str, seed: int = 0, body: Body | None = None, films: Sequence[Film] = FILMS
) -> list[Path]:
    """Render the demo videos into `folder` and return their paths, `sources.csv` (their provenance) beside them.

    The same seed and body give the same bytes, so videos that are there already are kept. seed: 0 casts the people as
    they are written here; another one gives them other bodies and clothes. body: the free body by default. films: what
    to render. The folder is made if needed; other files in it are left alone. All of them take half a minute or so on
    one core.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    body = body or load_body(None)
    script = hashlib.sha256(repr(tuple(films)).encode()).hexdigest()
    recipe = json.dumps({"version": VERSION, "seed": seed, "body": body.hash, "films": script}, sort_keys=True) + "\n"
    paths = [folder / f"{film.name}.mp4" for film in films]
    marker = folder / MARKER
    if marker.is_file() and marker.read_text() == recipe and all(path.is_file() for path in paths):
        return paths
    marker.unlink(missing_ok=True)
    for film, path in zip(films, paths):
        _write(body, film, path, seed)
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(COLUMNS)
    for film, path in zip(films, paths):
        writer.writerow((path.name, "", UPLOADER, film.title, LICENCE, DATE))
    _replace(folder / "sources.csv", table.getvalue())
    _replace(marker, recipe)
    return paths


def recast(film: Film, seed: int) -> Film:
    """The film with other bodies and colours of clothes; the same one for seed 0."""
    if seed == 0:
        return film
    rng = np.random.default_rng([seed, *film.name.encode()])

    def other(actor: Actor) -> Actor:
        def colour(rgb: tuple[int, int, int]) -> tuple[int, int, int]:
            red, green, blue = np.clip(rng.permutation(rgb) * rng.uniform(0.75, 1.2), 0, 255).astype(int).tolist()
            return red, green, blue

        look = actor.look
        other_look = replace(
            look,
            top=colour(look.top),
            pattern=colour(look.pattern),
            trousers=colour(look.trousers),
            shoes=colour(look.shoes),
        )
        betas = np.asarray(actor.betas) + rng.normal(0, 0.5, len(actor.betas))
        return Actor(tuple(np.clip(betas, -2, 2).tolist()), other_look)

    return replace(
        film, shots=tuple(replace(shot, actor=other(shot.actor) if shot.actor else None) for shot in film.shots)
    )


def _write(body: Body, film: Film, path: Path, seed: int) -> None:
    """Under another name first, so that a killed run leaves no half video."""
    with tempfile.TemporaryDirectory(prefix=".demo-", dir=path.parent) as room:
        unfinished = Path(room) / path.name
        with ClipWriter(unfinished, film.size, film.fps) as writer:
            for frame in film_frames(body, recast(film, seed), seed):
                writer.write(frame)
        os.replace(unfinished, path)


def _replace(path: Path, text: str) -> None:
    unfinished = path.with_name(f".{path.name}.new")
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, path)
