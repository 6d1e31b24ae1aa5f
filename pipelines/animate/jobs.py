"""What one job is, and the job file: JSON lines or CSV, a job a line. A bad line is one bad job, never the end."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipelines.body.swap import Anchor
from pipelines.settings import BadSettings, build

NAME = re.compile(r"[^\W][^/\\\x00-\x1f\x7f]*")
MAX_NAME = 150
SIZE = re.compile(r"(\d{1,6})\s*[xX,]\s*(\d{1,6})")
MAX_SIDE = 4096
MAX_FILE = 64 << 20


class BadJob(ValueError):
    """A job that cannot be done: `reason` is a stable key, the message is for people."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class BadJobFile(ValueError):
    """A job file that cannot be read at all."""


@dataclass(frozen=True)
class JobSpec:
    """One animation, as the user asks for it.

    reference: a picture. driving: a video, `shard.tar#key` for a sample of a dataset, or a `.poses.npz` that an earlier
    job wrote. name: of the output files; made from the two inputs where it is left out.
    seed: 0 to 2^64-1. steps: noise levels. guidance: the scale at a window's first and last frame, or one number for
    both; 1 is none. motion_bucket: 0 to 255. noise_aug: sigma.
    size: (width, height) the model works at; None: what it was made for. framing: how the reference gets into that
    size: `letterbox` shows all of it, `crop` fills the frame around the person. The result has the reference's framing
    either way. expression, anchor: see `pipelines.body.swap.SwapConfig`.
    fps: frames a second to take of the driving video, at most its own; None: all. start, seconds: the span of it.
    person, reference_person: whom to take, counted from 1, left to right, in the first look that shows the most people;
    None: the largest.
    audio: keep the driving video's sound. compare: also a video side by side. frames: also PNG files. poses: also the
    driver's poses as a file that can drive other jobs.
    """

    reference: str
    driving: str
    name: str | None = None
    seed: int = 0
    steps: int = 25
    schedule: Literal["karras", "align_your_steps"] = "karras"
    guidance: tuple[float, float] = (1.0, 3.0)
    motion_bucket: float = 127.0
    noise_aug: float = 0.02
    size: tuple[int, int] | None = None
    framing: Literal["letterbox", "crop"] = "letterbox"
    expression: Literal["reference", "driving"] = "reference"
    anchor: Anchor = "auto"
    fps: float | None = None
    start: float = 0.0
    seconds: float | None = None
    person: int | None = None
    reference_person: int | None = None
    audio: bool = False
    compare: bool = False
    frames: bool = False
    poses: bool = False

    def check(self) -> None:
        """Raises `BadJob` with reason bad_job, empty_span or bad_size for values that make no sense."""
        if self.name is not None and (not NAME.fullmatch(self.name) or len(self.name.encode()) > MAX_NAME):
            told = f"expected a file name of at most {MAX_NAME} bytes that begins with a letter or digit"
            raise BadJob("bad_job", f"name: {told}, got {self.name[:200]!r}")
        finite = (*self.guidance, self.motion_bucket, self.noise_aug, self.start, self.seconds or 0.0, self.fps or 1.0)
        if not all(math.isfinite(number) for number in finite):
            raise BadJob("bad_job", "a number of the job is not finite")
        limits = (
            ("seed", self.seed, 0, 2**64 - 1),
            ("steps", self.steps, 1, 1000),
            ("guidance", min(self.guidance), 0, 100),
            ("guidance", max(self.guidance), 0, 100),
            ("motion_bucket", self.motion_bucket, 0, 255),
            ("noise_aug", self.noise_aug, 0, 10),
            ("start", self.start, 0, 1e6),
            ("person", self.person or 1 if self.person != 0 else 0, 1, 1000),
            ("reference_person", self.reference_person or 1 if self.reference_person != 0 else 0, 1, 1000),
        )
        for name, value, low, high in limits:
            if not low <= value <= high:
                raise BadJob("bad_job", f"{name}: expected {low:g} to {high:g}, got {value:g}")
        if self.seconds is not None and self.seconds <= 0:
            raise BadJob("empty_span", f"seconds: a span of {self.seconds:g} s has no frames")
        if self.fps is not None and not 1 <= self.fps <= 120:
            raise BadJob("bad_job", f"fps: expected 1 to 120, got {self.fps:g}")
        if self.size is not None and not all(8 <= side <= MAX_SIDE for side in self.size):
            width, height = self.size
            raise BadJob("bad_size", f"size: expected sides of 8 to {MAX_SIDE} pixels, got {width}x{height}")


@dataclass(frozen=True)
class JobLine:
    """A line of the job file: a job, or why it is none (reason, message). where: for people."""

    where: str
    spec: JobSpec | None
    problem: tuple[str, str] | None = None


def parse_job(data: Mapping[str, Any], where: str) -> JobSpec:
    """A job from plain data, checked. `BadJob` names the field; unknown fields are refused with the nearest name."""
    try:
        spec = build(JobSpec, _plain(data), where)
    except BadSettings as error:
        raise BadJob("bad_job", str(error).replace("setting", "field")) from error
    spec.check()
    return spec


def read_jobs(path: Path) -> list[JobLine]:
    """The jobs of a .jsonl or .csv file, in order. Raises `BadJobFile` where the file itself cannot be read."""
    try:
        if path.stat().st_size > MAX_FILE:
            raise BadJobFile(f"{path}: a job file may have {MAX_FILE >> 20} MB")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise BadJobFile(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadJobFile(f"{path}: is not UTF-8 text: {error}") from error
    lines = _csv(text, path) if path.suffix.lower() == ".csv" else _json_lines(text, path)
    if not lines:
        raise BadJobFile(f"{path}: has no jobs")
    return lines


def _json_lines(text: str, path: Path) -> list[JobLine]:
    lines = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        where = f"{path.name}:{number}"
        try:
            data = json.loads(line)
        except (ValueError, RecursionError) as error:
            lines.append(JobLine(where, None, ("bad_job", f"{where}: is no JSON: {error}")))
            continue
        if not isinstance(data, dict):
            lines.append(JobLine(where, None, ("bad_job", f"{where}: expected an object, got {type(data).__name__}")))
            continue
        lines.append(_line(data, where))
    return lines


def _csv(text: str, path: Path) -> list[JobLine]:
    reader = csv.DictReader(io.StringIO(text), restkey="")
    if not {"reference", "driving"} <= set(reader.fieldnames or ()):
        raise BadJobFile(f"{path}: the first line must name the columns, reference and driving among them")
    lines = []
    try:
        for row in reader:
            where = f"{path.name}:{reader.line_num}"
            if "" in row:
                lines.append(JobLine(where, None, ("bad_job", f"{where}: more cells than columns")))
                continue
            lines.append(_line({key: value for key, value in row.items() if value not in (None, "")}, where))
    except csv.Error as error:
        lines.append(JobLine(f"{path.name}:{reader.line_num}", None, ("bad_job", f"{path}: {error}")))
    return lines


def _line(data: Mapping[str, Any], where: str) -> JobLine:
    try:
        return JobLine(where, parse_job(data, where))
    except BadJob as error:
        told = str(error) if where in str(error) else f"{where}: {error}"
        return JobLine(where, None, (error.reason, told))


def _plain(data: Mapping[str, Any]) -> dict[str, Any]:
    """`size` may be "512x768", `guidance` one number or "1:3"."""
    plain = dict(data)
    size = plain.get("size")
    if isinstance(size, str) and (match := SIZE.fullmatch(size.strip())):
        plain["size"] = [int(match[1]), int(match[2])]
    guidance = plain.get("guidance")
    if isinstance(guidance, str):
        plain["guidance"] = guidance.split(":") if ":" in guidance else [guidance, guidance]
    elif isinstance(guidance, int | float) and not isinstance(guidance, bool):
        plain["guidance"] = [guidance, guidance]
    return plain
