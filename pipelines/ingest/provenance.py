"""Where a video is from and under which terms, as far as its side-cars say.

Two side-cars are read. A field in `sources.csv`, which a person wrote, goes before the same field in `.info.json`:

* `sources.csv` in the video's folder or any folder above it up to the one that the user named; the nearest row wins.
  Columns, in any order, all but `file` optional: `file` (path below the folder of the csv, or just the file name),
  `url`, `uploader`, `title`, `licence` (or `license`), `date`, `platform`, `consent` (what the people in it agreed to:
  "release form 12"). Comma, semicolon or tab; UTF-8, a BOM is fine.
* `<stem>.info.json` beside the video, as yt-dlp writes it with `--write-info-json`.

What nobody says is "unknown": a class of its own, which a release policy can refuse.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from pipelines.ingest.sources import Source

UNKNOWN = "unknown"
FIELDS = ("url", "uploader", "title", "licence", "date", "platform", "consent")
MAX_INFO_BYTES = 10 * 1000 * 1000
MAX_CSV_BYTES = 200 * 1000 * 1000
MAX_TEXT = 500
MAX_URL = 2000
TABLE = "sources.csv"

_SCHEMES = frozenset({"http", "https", "ftp", "s3", "gs", "az", "hf"})
_COLUMNS = {
    **{"filename": "file", "path": "file", "license": "licence", "webpage_url": "url", "link": "url"},
    **{"channel": "uploader", "author": "uploader", "upload_date": "date", "source": "platform"},
}
_INFO_KEYS = {
    "url": ("webpage_url", "original_url"),
    "uploader": ("uploader", "channel", "creator", "uploader_id", "channel_id"),
    "title": ("title", "fulltitle"),
    "licence": ("license", "licence"),
    "date": ("upload_date", "release_date"),
    "platform": ("extractor_key", "extractor"),
}


@dataclass(frozen=True)
class Provenance:
    """All values are printable text or "unknown". date: YYYY-MM-DD where it could be understood, else as given.

    read_from: for each known field the file (and line) that says so. warnings: side-cars that could not be used.
    """

    url: str = UNKNOWN
    uploader: str = UNKNOWN
    title: str = UNKNOWN
    licence: str = UNKNOWN
    date: str = UNKNOWN
    platform: str = UNKNOWN
    consent: str = UNKNOWN
    read_from: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


class _Unusable(Exception):
    """A side-car that cannot be used, and why."""


def clean_text(value: object, limit: int = MAX_TEXT) -> str | None:
    """One line without control, format or surrogate characters, at most `limit` long; None if nothing is left."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    text = unicodedata.normalize("NFC", str(value)[: 4 * limit].replace("\n", " ").replace("\t", " "))
    text = " ".join("".join(c for c in text if unicodedata.category(c)[0] != "C").split())
    return text[: limit - 1] + "…" if len(text) > limit else text or None


def clean_url(value: object) -> str | None:
    """A URL that can be put in a page: of a known scheme, without user name and password; else None."""
    text = clean_text(value, MAX_URL + 1)
    if text is None or len(text) > MAX_URL:
        return None
    try:
        parts = urlsplit(text)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return None
    return urlunsplit(parts._replace(netloc=host)) if parts.scheme.lower() in _SCHEMES and host else None


def clean_date(value: object) -> str | None:
    """YYYYMMDD, as yt-dlp writes it, becomes YYYY-MM-DD; other text stays."""
    text = clean_text(value, 40)
    match = re.fullmatch(r"(\d{4})(\d\d)(\d\d)", text or "")
    return "-".join(match.groups()) if match else text


_CLEAN: dict[str, Callable[[object], str | None]] = {"url": clean_url, "date": clean_date}


def _read(path: Path, limit: int) -> bytes | None:
    """The bytes of a side-car, None where there is none."""
    try:
        with open(path, "rb") as file:
            data = file.read(limit + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _Unusable(f"{path.name}: cannot be read: {error.strerror}") from error
    if len(data) > limit:
        raise _Unusable(f"{path.name}: larger than {limit // 1_000_000} MB, not read")
    return data


def _info(video: Path) -> tuple[dict[str, Any], str] | None:
    for path in (video.with_name(f"{video.stem}.info.json"), video.with_name(f"{video.name}.info.json")):
        data = _read(path, MAX_INFO_BYTES)
        if data is None:
            continue
        try:
            content = json.loads(data.decode("utf-8-sig"))
        except (ValueError, RecursionError) as error:
            raise _Unusable(f"{path.name}: not valid JSON ({type(error).__name__})") from error
        if not isinstance(content, dict):
            raise _Unusable(f"{path.name}: holds a {type(content).__name__}, expected an object")
        return content, path.name
    return None


Row = Mapping[str, str]


@lru_cache(maxsize=16)
def _table(
    path: Path, size: int, mtime_ns: int
) -> tuple[dict[str, tuple[Row, int]], dict[str, tuple[Row, int] | None]]:
    """Rows by path and by bare file name (None where the name stands for several files), each with its line."""
    data = _read(path, MAX_CSV_BYTES) or b""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _Unusable(f"{path.name}: not UTF-8 at byte {error.start}; save it as UTF-8") from error
    header = text.partition("\n")[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=header.count))
    by_path: dict[str, tuple[Row, int]] = {}
    by_name: dict[str, tuple[Row, int] | None] = {}
    try:
        columns = [_COLUMNS.get(name, name) for name in (cell.strip().lower() for cell in next(reader, []))]
        if "file" not in columns:
            raise _Unusable(f"{path.name}: has no column named file, only {', '.join(columns)[:200] or 'nothing'}")
        for cells in reader:
            row = dict(zip(columns, cells, strict=False))
            file = row.get("file", "").strip().replace("\\", "/").removeprefix("./")
            if file:
                name = file.rpartition("/")[2]
                by_path.setdefault(file, (row, reader.line_num))
                by_name[name] = None if name in by_name else (row, reader.line_num)
    except csv.Error as error:
        raise _Unusable(f"{path.name}: line {reader.line_num}: {error}") from error
    return by_path, by_name


def _rows(video: Path, root: Path) -> Iterator[tuple[Row, str] | _Unusable]:
    """Matching rows of the tables from the video's folder up to `root`, nearest first."""
    for folder in video.parents:
        path = folder / TABLE
        try:
            found = os.stat(path)
            by_path, by_name = _table(path, found.st_size, found.st_mtime_ns)
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:
            yield _Unusable(f"{path.name}: cannot be read: {error.strerror}")
        except _Unusable as error:
            yield error
        else:
            match = by_path.get(video.relative_to(folder).as_posix()) or by_name.get(video.name)
            if match:
                yield match[0], f"{os.path.relpath(path, root)}:{match[1]}"
        if folder == root:
            return


def read_provenance(source: Source) -> Provenance:
    """What the side-cars of a source say. Never raises for what is in them: that goes into `warnings`.

    The side-cars of a remote source are not read; an http address is its URL, while a storage bucket says nothing of
    where a video is from.
    """
    if source.remote:
        url = clean_url(source.location) if source.location.lower().startswith("http") else None
        return Provenance(url=url, read_from={"url": "address"}) if url else Provenance()
    video = Path(source.location)
    root = Path(source.root) if source.root and Path(source.root) in video.parents else video.parent
    values: dict[str, str] = {}
    read_from: dict[str, str] = {}
    warnings: list[str] = []

    def take(key: str, value: object, origin: str) -> None:
        if key in values or value in (None, ""):
            return
        cleaned = _CLEAN.get(key, clean_text)(value)
        if cleaned is None:
            warnings.append(f"{origin}: its {key} is not usable")
        elif cleaned.lower() != UNKNOWN:
            values[key], read_from[key] = cleaned, origin

    for row in _rows(video, root):
        if isinstance(row, _Unusable):
            warnings.append(str(row))
        else:
            for key in FIELDS:
                take(key, row[0].get(key), row[1])
    try:
        info = _info(video)
    except _Unusable as error:
        warnings.append(str(error))
        info = None
    if info is not None:
        for key, names in _INFO_KEYS.items():
            take(key, next((info[0][name] for name in names if info[0].get(name)), None), info[1])
    return Provenance(**values, read_from=read_from, warnings=tuple(warnings))
