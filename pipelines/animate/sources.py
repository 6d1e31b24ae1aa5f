"""Inputs of jobs, by content: a reference picture, or what drives it. Equal content is one source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pipelines.animate.jobs import BadJob, JobSpec

Kind = Literal["picture", "video", "sample", "poses"]
POSES_SUFFIX = ".poses.npz"


@dataclass(frozen=True)
class Source:
    """An input as a unit sees it.

    kind: a reference picture, a driving video, a sample of a shard, or saved poses. path: where it lies on this
    machine; no part of its identity. options: which part of it, by name (start, seconds, fps; key). person: whom of it.
    """

    kind: Kind
    path: str
    sha256: str
    options: dict[str, Any] = field(default_factory=dict)
    person: int | None = None

    @property
    def label(self) -> str:
        return Path(self.path).name


def reference_of(spec: JobSpec, base: Path, root: Path | None, content: Callable[[Path], str]) -> Source:
    """The reference of a job. base: what relative paths start from. content: sha256 of a file. Raises `BadJob`."""
    path = allowed_file(spec.reference, "reference", base, root)
    return Source("picture", str(path), _hashed(path, "reference", content), {}, spec.reference_person)


def driving_of(spec: JobSpec, base: Path, root: Path | None, content: Callable[[Path], str]) -> Source:
    """What drives a job. Raises `BadJob`."""
    name, separator, key = spec.driving.rpartition("#")
    if separator and name.endswith(".tar"):
        path = allowed_file(name, "driving", base, root)
        kind: Kind = "sample"
        options: dict[str, Any] = {"key": key}
    else:
        path = allowed_file(spec.driving, "driving", base, root)
        kind = "poses" if path.name.endswith(POSES_SUFFIX) else "video"
        options = {}
    if kind != "video" and spec.person is not None:
        raise BadJob("bad_job", f"person: {path.name} holds the poses of one person already")
    options |= {"start": spec.start, "seconds": spec.seconds, "fps": spec.fps}
    return Source(kind, str(path), _hashed(path, "driving", content), options, spec.person)


def allowed_file(text: str, what: str, base: Path, root: Path | None) -> Path:
    """An existing ordinary file, its links resolved, inside `root` where there is one. Raises `BadJob`."""
    if not text or "\0" in text:
        raise BadJob("bad_job", f"{what}: expected a path, got {text!r}")
    if "://" in text:
        raise BadJob("not_found", f"{what}: {text}: only files of this machine are read; copy it here first")
    try:
        path = (base / text).resolve(strict=False)
        if root is not None and not path.is_relative_to(root.resolve()):
            raise BadJob("outside_root", f"{what}: {text} lies outside of {root}, the only folder that is allowed")
        if not path.exists():
            raise BadJob("not_found", f"{what}: there is no file {base / text}")
        if not path.is_file():
            raise BadJob("not_a_file", f"{what}: {base / text} is no ordinary file")
    except (OSError, RuntimeError) as error:
        raise BadJob("not_found", f"{what}: {text[:200]}: cannot be looked at: {error}") from error
    return path


def _hashed(path: Path, what: str, content: Callable[[Path], str]) -> str:
    try:
        return content(path)
    except OSError as error:
        raise BadJob("unreadable", f"{what}: {path}: cannot be read: {error.strerror or error}") from error
