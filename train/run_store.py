"""A run that is kept in object storage, so that any machine can go on with it.

    STORE/run                                   a random id, created once: which run this is
    STORE/checkpoints/step-00000500/...         as in OUT; counts when manifest.json is there, which is put last
    STORE/frozen.safetensors                    as in OUT, before the first checkpoint
    STORE/run.yaml, log.jsonl, validation/, ... as in OUT, after every checkpoint and at the end
    STORE/lock                                  the lease of the run at work

The run itself works in its local folder OUT: a checkpoint is first whole there, then it is put here by all ranks at
once. A machine whose OUT lacks the newest checkpoint fetches it.
"""

from __future__ import annotations

import json
import re
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pipelines.engine.atomic import DiskFull, write_whole
from pipelines.engine.run_lock import KEY, BadOutput, Busy, only_run
from pipelines.engine.storage import StorageError, Store, open_store
from pipelines.settings import BadSettings
from train import checkpoint as checkpoints
from train.checkpoint import MANIFEST, BadCheckpoint
from train.ranks import Ranks
from train.run_folder import FROZEN
from train.settings import CheckpointSettings, TrainSettings

Answer = TypeVar("Answer")

CHECKPOINTS = "checkpoints"
STEP = re.compile(rf"{CHECKPOINTS}/step-(\d{{8,}})")
RUN = "run"
# In OUT: which run of which store it belongs to.
BELONGS = "store.json"
STAYS = ("lock", "stop", BELONGS, FROZEN)
"""Files of OUT that are not put along with the log."""


def whole_steps(store: Store) -> list[int]:
    """The steps of the checkpoints in a run's store that count, newest first."""
    steps = []
    for entry in store.list_prefix(CHECKPOINTS):
        match = STEP.fullmatch(entry.key.removesuffix(f"/{MANIFEST}"))
        if match and entry.key.endswith(f"/{MANIFEST}"):
            steps.append(int(match[1]))
    return sorted(steps, reverse=True)


def fetch_checkpoint(store: Store, step: int, out: Path) -> Path:
    """Copy a checkpoint, and the frozen weights where `out` lacks them, into the folder of a run. What is there under
    the same name is replaced. Raises `BadCheckpoint` when files are missing, `StorageError`, `DiskFull`."""
    name = checkpoints.step_name(step)
    final, partial = out / CHECKPOINTS / name, out / CHECKPOINTS / f".{name}.tmp"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        if not (out / FROZEN).exists() and store.size(FROZEN) is not None:
            store.fetch(FROZEN, out / FROZEN)
        store.fetch(f"{CHECKPOINTS}/{name}/{MANIFEST}", partial / MANIFEST)
        for file in checkpoints.read_manifest(partial)["files"]:
            store.fetch(f"{CHECKPOINTS}/{name}/{file}", partial / file)
    except FileNotFoundError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise BadCheckpoint(f"{store.url}/{CHECKPOINTS}/{name} lacks a file: {error}") from error
    if final.exists():
        checkpoints.remove(final)
    partial.rename(final)
    return final


class RunStore:
    """The store of a run, for all of its ranks. Methods are collective; what one rank meets is raised on all."""

    def __init__(self, url: str, out: Path, ranks: Ranks, held: Callable[[], bool]) -> None:
        """held: whether the first rank still has the lease."""
        self.url, self.out, self.ranks, self.held = url, out, ranks, held
        self.store = open_store(url)
        self.newest = 0
        """Step of the newest checkpoint in the store, 0 for none."""
        self._put: dict[str, tuple[int, int]] = {}

    def begin(self) -> None:
        """Make OUT and the store belong together, and remove what a killed run put half. Raises `BadSettings` where
        they hold different runs."""
        self.newest = self._by_first(self._begin)

    def _begin(self) -> int:
        own = json.loads((self.out / BELONGS).read_bytes())["run"] if (self.out / BELONGS).exists() else None
        try:
            kept = self.store.get(RUN).decode()
        except FileNotFoundError:
            if any(entry.key != KEY for entry in self.store.list_prefix("")):
                raise BadSettings(
                    f"store: {self.url} is not empty and holds no run; give the run a place of its own"
                ) from None
            kept = own or uuid.uuid4().hex
            if not self.store.put_new(RUN, kept.encode()):
                kept = self.store.get(RUN).decode()
        if kept != own and (own or any((self.out / CHECKPOINTS).glob("step-*"))):
            raise BadSettings(
                f"{self.out} and {self.url} hold different runs: give this one another folder with --set out=..., or "
                "another place with --set store=..."
            )
        write_whole(self.out / BELONGS, json.dumps({"run": kept, "store": self.url}).encode())
        steps = whole_steps(self.store)
        found = {entry.key.rpartition("/")[0] for entry in self.store.list_prefix(CHECKPOINTS)}
        for folder in found - {f"{CHECKPOINTS}/{checkpoints.step_name(step)}" for step in steps}:
            if STEP.fullmatch(folder):  # a copy that somebody made under another name is left alone
                self.store.delete_prefix(folder)
        return max(steps, default=0)

    def fetch_newer(self, than: int) -> tuple[checkpoints.Checkpoint | None, list[str]]:
        """Bring the newest whole checkpoint that is newer than step `than` to OUT, and the log with it. Returns it,
        and why newer ones were passed over."""
        reasons: list[str] = []
        steps = self._by_first(lambda: whole_steps(self.store) if self.newest > than else [])
        for step in steps:
            if step <= than:
                break
            try:
                folder = self._by_first(lambda step=step: fetch_checkpoint(self.store, step, self.out))  # type: ignore[misc]
                found = checkpoints.opened(folder, self.ranks)
            except BadCheckpoint as error:
                reasons.append(str(error))
                self._by_first(lambda step=step: self._discard(step))  # type: ignore[misc]
                continue
            self._by_first(self._fetch_files)
            self.newest = found.step
            return found, reasons
        self.newest = min(self.newest, than)
        return None, reasons

    def _discard(self, step: int) -> None:
        folder = self.out / CHECKPOINTS / checkpoints.step_name(step)
        if folder.exists():
            checkpoints.remove(folder)

    def _fetch_files(self) -> None:
        for entry in list(self.store.list_prefix("")):
            if not entry.key.startswith(f"{CHECKPOINTS}/") and entry.key not in (*STAYS, RUN):
                self.store.fetch(entry.key, self.out / entry.key)

    def keep(self, folder: Path, policy: CheckpointSettings) -> None:
        """Put a checkpoint that is whole in OUT, then remove those that the policy does not keep. Raises
        `StorageError`; then the checkpoint counts as absent, and what was there before is untouched."""
        name = folder.name
        manifest: dict[str, Any] = checkpoints.read_manifest(folder)
        self._by_first(lambda: self._make_way(name))
        files = sorted(manifest["files"])[self.ranks.rank :: self.ranks.count]
        self._by_all(lambda: self._put_parts(folder, files))
        self._by_first(lambda: self._commit(folder, policy))
        self.newest = int(manifest["step"])

    def _put_parts(self, folder: Path, files: Sequence[str]) -> None:
        for file in files:
            self.store.put(f"{CHECKPOINTS}/{folder.name}/{file}", folder / file)

    def _make_way(self, name: str) -> None:
        if not self.held():
            raise Busy(f"another run has taken {self.url} over: this one ends, so that they do not mix")
        self.store.delete(f"{CHECKPOINTS}/{name}/{MANIFEST}")
        frozen = self.out / FROZEN
        if frozen.exists() and self.store.size(FROZEN) != frozen.stat().st_size:
            self.store.put(FROZEN, frozen)

    def _commit(self, folder: Path, policy: CheckpointSettings) -> None:
        record = f"{CHECKPOINTS}/{folder.name}/{MANIFEST}"
        if not self.held() or not self.store.put_new(record, (folder / MANIFEST).read_bytes()):
            raise Busy(f"another run has taken {self.url} over: this one ends, so that they do not mix")
        for step in checkpoints.superfluous(whole_steps(self.store), policy):
            going = f"{CHECKPOINTS}/{checkpoints.step_name(step)}"
            self.store.delete(f"{going}/{MANIFEST}")
            self.store.delete_prefix(going)
        self._put_files()

    def keep_files(self) -> None:
        """Put what else changed in OUT: log, settings, pictures. Raises `StorageError`."""
        self._by_first(self._put_files)

    def _put_files(self) -> None:
        for path in sorted(self.out.rglob("*")):
            key = path.relative_to(self.out).as_posix()
            if key.startswith(f"{CHECKPOINTS}/") or key in STAYS or path.name.startswith(".") or not path.is_file():
                continue
            try:
                facts = path.stat()
                state = (facts.st_size, facts.st_mtime_ns)
                if self._put.get(key) != state:
                    self.store.put(key, path)
                    self._put[key] = state
            except FileNotFoundError:  # somebody removed it meanwhile
                continue

    def _by_first(self, work: Callable[[], Answer]) -> Answer:
        """The answer of the first rank on every rank; the others wait."""
        answers = self._by_all(lambda: work() if self.ranks.first else None)
        return answers[0]  # type: ignore[return-value]

    def _by_all(self, work: Callable[[], Answer]) -> list[Answer]:
        """What every rank answers, by rank."""
        failed: Exception | None = None
        answer: Answer | None = None
        try:
            answer = work()
        except (StorageError, Busy, BadSettings, BadCheckpoint, DiskFull, OSError) as error:
            failed = error
        everyone = self.ranks.gather((failed, answer))
        for raised, _ in everyone:
            if raised is not None:
                raise raised
        return [answer for _, answer in everyone]  # type: ignore[misc]


@contextmanager
def kept_run(settings: TrainSettings, ranks: Ranks) -> Iterator[RunStore | None]:
    """The store of a run, held for this run alone, or None where the settings name none; collective. Raises `Busy`,
    `BadSettings`, `StorageError` on every rank."""
    if settings.store is None:
        yield None
        return
    with ExitStack() as stack:
        held: Callable[[], bool] = bool
        failed = None
        if ranks.first:
            try:
                held = stack.enter_context(only_run(open_store(settings.store)))
            except (BadOutput, Busy, StorageError) as error:
                failed = error
        failed = ranks.from_first(failed)
        if failed is not None:
            raise failed
        kept = RunStore(settings.store, settings.out, ranks, held)
        kept.begin()
        yield kept
