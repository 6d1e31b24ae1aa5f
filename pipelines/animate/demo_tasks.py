"""What the demo page asks for, one thing at a time: uploads looked at, a sheet, a video."""

from __future__ import annotations

import re
import secrets
import threading
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.animate.jobs import BadJob, JobLine, parse_job
from pipelines.animate.picture import BadPicture
from pipelines.animate.run import run_animate
from pipelines.animate.settings import AnimateSettings
from pipelines.animate.upload import look_at
from pipelines.engine.atomic import DiskFull
from pipelines.engine.isolation import ChildDied, IsolatedWorker
from pipelines.engine.setup_error import SetupError
from pipelines.video.probe import BadVideo

UPLOAD = re.compile(r"[0-9a-f]{32}")
# What the page may set of a job.
FIELDS = ("seed", "steps", "guidance", "framing", "fps", "start", "seconds", "person", "reference_person", "audio")
CHECK_SECONDS = 180.0


class Refused(ValueError):
    """A request that is not done; the message is for the person at the page."""


@dataclass
class Task:
    """What is going on, or went on last. state: idle, working, done, refused or failed."""

    state: str = "idle"
    kind: str = ""
    name: str = ""
    done: int = 0
    total: int = 0
    message: str = ""
    cautions: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return dict(vars(self))


class Tasks:
    """Uploads and outputs below one folder, and the one thread that works."""

    def __init__(self, folder: Path, settings: AnimateSettings, max_uploads: int = 50) -> None:
        self.settings = settings
        self.uploads = folder / "uploads"
        self.out = folder / "out"
        self.max_uploads = max_uploads
        self.task = Task()
        self._lock = threading.Lock()
        for path in (self.uploads, self.out):
            path.mkdir(parents=True)
        # A child dies with the thread that started it, and the server's threads come and go: a fresh one each time.
        self._child = IsolatedWorker(CHECK_SECONDS, settings.isolation.memory_mb << 20, recycle=1)

    def place(self) -> Path:
        """Where the next upload is written. Raises `Refused` when there are too many."""
        if sum(1 for _ in self.uploads.iterdir()) >= self.max_uploads:
            raise Refused(f"{self.max_uploads} files were uploaded already: start the demo again for more")
        return self.uploads / secrets.token_hex(16)

    def look_at(self, kind: str, path: Path) -> dict[str, Any]:
        """What an uploaded file is, by its content. A file that is no use is removed; raises `Refused`."""
        try:
            size = self._child.call(look_at, kind, str(path), self.settings.min_side)
        except (BadPicture, BadVideo, ChildDied) as error:
            path.unlink(missing_ok=True)
            told = str(error).replace(str(path), "the file")
            raise Refused(told) from error
        return {"id": path.name, **size}

    def begin(self, kind: str, asked: Mapping[str, Any]) -> str:
        """Start a `preview` or a `video`. Returns its name. Raises `Refused`."""
        unknown = sorted(set(asked) - {"reference", "driving", *FIELDS})
        if unknown:
            raise Refused(f"there is no field {unknown[0]!r}")
        for role in ("reference", "driving"):
            upload = asked.get(role)
            if not isinstance(upload, str) or not UPLOAD.fullmatch(upload) or not (self.uploads / upload).is_file():
                raise Refused(f"upload a {'picture' if role == 'reference' else 'video'} first")
        name = f"{kind}-{secrets.token_hex(6)}"
        given = {key: value for key, value in asked.items() if value is not None}
        try:
            spec = parse_job({**given, "name": name, "compare": True}, "job")
        except BadJob as error:
            raise Refused(str(error).removeprefix("job: ")) from error
        with self._lock:
            if self.task.state == "working":
                raise Refused("something is being made already: wait for it")
            self.task = Task("working", kind, name)
        threading.Thread(target=self._work, args=(kind, JobLine("job", spec)), daemon=True).start()
        return name

    def _work(self, kind: str, line: JobLine) -> None:
        task = self.task

        def watch(name: str, done: int, total: int) -> None:
            task.done, task.total = done, total

        try:
            summary = run_animate(
                [line], self.out, self.settings, base=self.uploads, preview=kind == "preview", watch=watch
            )
            ending = summary.endings[0]
            task.cautions = list(ending.cautions)
            told = (ending.message or "").removeprefix("job: ")
            for upload in self.uploads.iterdir():
                told = told.replace(str(upload), "the file")
            task.message = told
            if summary.failures:
                task.message = summary.failures[0][1].strip().splitlines()[-1]
            task.state = {"done": "done", "quarantined": "refused"}.get(ending.status, "failed")
        except (DiskFull, SetupError, OSError, RuntimeError, ValueError) as error:
            traceback.print_exc()
            task.message, task.state = str(error), "failed"
