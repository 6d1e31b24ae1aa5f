"""Which videos there are: folders, files, globs, lists, and remote places that `fsspec` knows.

Nothing is skipped in silence: what looks like a video but cannot be read comes back as a source with a reason.
"""

from __future__ import annotations

import glob
import hashlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import fsspec
from fsspec.core import url_to_fs

VIDEO_EXTENSIONS = frozenset(
    {
        *(".mp4", ".m4v", ".mov", ".qt", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".m2ts", ".mts", ".ts"),
        *(".flv", ".f4v", ".wmv", ".asf", ".3gp", ".3g2", ".ogv", ".mxf", ".vob"),
    }
)
UNFINISHED = frozenset({".part", ".crdownload", ".download"})
LIST_EXTENSIONS = frozenset({".txt", ".lst", ".list"})
_URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+(::|://)")
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Source:
    """A video to be worked on.

    location: an absolute local path or a URL. name: its path below what the user named, for reports; the same for the
    same folder wherever it is mounted. root: the folder the user named, up to which side-cars are looked for, or None.
    reason: why it cannot be used, or None: not_found, unreadable, broken_link, not_a_file, bad_name,
    unfinished_download, unknown_protocol.
    """

    location: str
    name: str
    root: str | None = None
    reason: str | None = None
    message: str = ""

    @property
    def remote(self) -> bool:
        return is_url(self.location)


def is_url(text: str) -> bool:
    """Whether `text` names a place through a protocol, as `s3://bucket/a.mp4` does. `C:\\a` and `a:b.mp4` do not."""
    return _URL.match(text) is not None


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sorts `clip2` before `clip10`, the same way everywhere."""
    parts = re.split(r"(\d+)", name)
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts if part]


def find_sources(src: str | Path) -> list[Source]:
    """All videos behind what a user typed, in natural order, each once.

    src: a folder (searched below, hidden files and folders left out), a video file, a glob (`**` included), a text file
    (.txt, .lst, .list) with a path or URL a line, relative to its folder, `#` comments; or a URL of a file or folder.
    Raises FileNotFoundError when there is no such thing at all, ValueError for a URL whose protocol is not installed.
    """
    text = os.fspath(src)
    if is_url(text):
        return _remote(text)
    path = Path(os.path.expanduser(text))
    if os.path.isdir(path):
        return _unique(_folder(path))
    if os.path.isfile(path) and path.suffix.lower() in LIST_EXTENSIONS:
        return _unique(_listed(path))
    if os.path.lexists(path):
        return [_local(path, path.parent)]
    if glob.has_magic(text):
        return _unique(_globbed(str(path)))
    raise FileNotFoundError(f"{text}: no such folder, file, list, pattern or URL of videos")


def _unique(sources: Iterator[Source]) -> list[Source]:
    first: dict[str, Source] = {}
    for source in sources:
        first.setdefault(source.location, source)
    return sorted(first.values(), key=lambda source: (natural_key(source.name), source.location))


def _hidden(name: str) -> bool:
    return name.startswith(".")


def _is_video_name(name: str) -> bool:
    path = PurePosixPath(name)
    if path.suffix.lower() in UNFINISHED:
        path = path.with_suffix("")
    return path.suffix.lower() in VIDEO_EXTENSIONS


def _folder(root: Path) -> Iterator[Source]:
    denied: list[OSError] = []
    seen = set()
    for folder, folders, files in os.walk(root, onerror=denied.append, followlinks=True):
        here = os.path.realpath(folder)
        if here in seen:  # a link back to a folder above
            folders.clear()
            continue
        seen.add(here)
        folders[:] = sorted(name for name in folders if not _hidden(name))
        for name in files:
            if not _hidden(name) and _is_video_name(name):
                yield _local(Path(folder, name), root)
    for error in denied:
        path = Path(error.filename)
        yield _bad(path, root, "unreadable", f"{path}: the folder cannot be read: {error.strerror}")


def _globbed(pattern: str) -> Iterator[Source]:
    fixed = []
    for part in Path(pattern).parts:
        if glob.has_magic(part):
            break
        fixed.append(part)
    root = Path(*fixed) if fixed else Path()
    for match in glob.iglob(pattern, recursive=True):
        path = Path(match)
        if path.is_dir():
            continue
        if _is_video_name(path.name):
            yield _local(path, root)


def _listed(file: Path) -> Iterator[Source]:
    text = file.read_text(encoding="utf-8-sig", errors="surrogateescape")
    for line in text.splitlines():
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        if is_url(entry):
            yield from _remote(entry)
        else:
            path = Path(os.path.expanduser(entry))
            path = path if path.is_absolute() else file.parent / path
            yield from _folder(path) if os.path.isdir(path) else [_local(path, file.parent)]


def _name(path: Path, root: Path) -> str:
    path, root = Path(os.path.abspath(path)), Path(os.path.abspath(root))
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def _bad(path: Path, root: Path, reason: str, message: str) -> Source:
    source = Source(os.path.abspath(path), _name(path, root), os.path.abspath(root), reason, message)
    readable = {
        key: os.fsencode(getattr(source, key)).decode("utf-8", "backslashreplace") for key in ("location", "name")
    }
    return replace(source, **readable)


def _local(path: Path, root: Path) -> Source:
    if path.suffix.lower() in UNFINISHED:
        return _bad(path, root, "unfinished_download", f"{path.name!a}: the download never ended; fetch it again")
    try:
        os.fspath(path).encode("utf-8")
    except UnicodeEncodeError:
        return _bad(path, root, "bad_name", f"{os.fspath(path)!a}: the name is not valid UTF-8; rename the file")
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            return _bad(path, root, "not_a_file", f"{path}: is no ordinary file")
        with open(path, "rb"):
            pass
    except FileNotFoundError:
        if os.path.islink(path):
            return _bad(path, root, "broken_link", f"{path}: points to {os.readlink(path)}, which does not exist")
        return _bad(path, root, "not_found", f"{path}: does not exist")
    except ValueError:
        return _bad(path, root, "bad_name", f"{os.fspath(path)!a}: no file can have this name")
    except OSError as error:
        return _bad(path, root, "unreadable", f"{path}: cannot be opened: {error.strerror}")
    return Source(os.path.abspath(path), _name(path, root), os.path.abspath(root))


def _remote(url: str) -> list[Source]:
    """Videos below a URL, or the URL itself when it is a file. `file://` becomes a local path."""
    try:
        system, path = url_to_fs(url)
    except (ImportError, ValueError) as error:
        return [Source(url, url, None, "unknown_protocol", f"{url}: {error}")]
    if "file" in (system.protocol if isinstance(system.protocol, tuple) else (system.protocol,)):
        return find_sources(path) if os.path.lexists(path) or glob.has_magic(path) else [_local(Path(path), Path(path))]
    try:
        if glob.has_magic(path):
            names, root = sorted(system.glob(path)), path[: re.search(r"[*?\[]", path).start()]  # type: ignore[union-attr]
        elif system.isdir(path):
            names, root = sorted(system.find(path)), path
        elif system.exists(path):
            names, root = [path], str(PurePosixPath(path).parent)
        else:
            return [Source(url, url, None, "not_found", f"{url}: does not exist")]
    except (OSError, ValueError) as error:
        return [Source(url, url, None, "unreadable", f"{url}: {error}")]
    root = root.rstrip("/")
    found = []
    for name in names:
        below = name.removeprefix(root).lstrip("/")
        if any(_hidden(part) for part in below.split("/")) or (len(names) > 1 and not _is_video_name(name)):
            continue
        found.append(Source(system.unstrip_protocol(name), below, None))
    return sorted(found, key=lambda source: natural_key(source.name))


def localise(source: Source, folder: Path) -> Path:
    """A local path with the source's bytes: its own, or a copy under `folder`, which is written whole or not at all."""
    if not source.remote:
        return Path(source.location)
    folder.mkdir(parents=True, exist_ok=True)
    suffix = PurePosixPath(source.name).suffix.lower()
    key = hashlib.sha256(source.location.encode("utf-8", "surrogateescape")).hexdigest()[:24]
    target = folder / f"{key}{suffix if len(suffix) <= 8 else ''}"
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{key}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as copy, fsspec.open(source.location, "rb") as remote:
            shutil.copyfileobj(remote, copy, _CHUNK)
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return target
