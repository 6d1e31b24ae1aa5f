"""Train VividPose.

    deepspeed train/main.py --config train/configs/vividpose.yaml [--set optimiser.learning_rate=2e-5]
    python train/main.py --config tiny            one process, no launcher

Runs that are stopped (SIGTERM, SIGUSR1, a file OUT/stop, a time limit, kill -9, a crash) go on when the same command is
given again. Exit codes: 0 finished, or stopped with a checkpoint; 1 an error, told in one line; 3 the last checkpoint
could not be written, or not be put into the run's `store`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if sys.path and Path(sys.path[0] or ".").resolve() == Path(__file__).resolve().parent:
    sys.path[0] = str(ROOT)  # a script's own folder would hide the standard library behind its file names

import argparse  # noqa: E402
import logging  # noqa: E402

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch  # noqa: E402
import transformers.utils.logging  # noqa: E402

from model.config import BadConfig  # noqa: E402
from model.input_check import BadInput  # noqa: E402
from model.weight_files import BadFolder  # noqa: E402
from pipelines.engine.atomic import DiskFull  # noqa: E402
from pipelines.engine.run_lock import BadOutput, Busy  # noqa: E402
from pipelines.engine.setup_error import SetupError  # noqa: E402
from pipelines.engine.storage import StorageError  # noqa: E402
from pipelines.settings import BadSettings  # noqa: E402
from pipelines.shard_format import BadSample  # noqa: E402
from train.checkpoint import BadCheckpoint, remove_unfinished  # noqa: E402
from train.guards import TrainingFailed  # noqa: E402
from train.loop import Ending, Trainer  # noqa: E402
from train.ranks import Ranks  # noqa: E402
from train.run_folder import Lock, RunFolderBusy  # noqa: E402
from train.run_store import RunStore, kept_run  # noqa: E402
from train.settings import TrainSettings, accumulation_steps, load_settings  # noqa: E402
from train.start import StartOptions, prepare  # noqa: E402
from train.stopping import Stopping  # noqa: E402
from train.stream.dataset import BadDataset  # noqa: E402
from train.stream.stream import StreamBroken, StreamChanged  # noqa: E402

TOLD = (
    BadCheckpoint,
    BadConfig,
    BadDataset,
    BadFolder,
    BadInput,
    BadOutput,
    BadSample,
    BadSettings,
    Busy,
    RunFolderBusy,
    SetupError,
    StreamBroken,
    StreamChanged,
    TrainingFailed,
)
"""Errors that a person can do something about: one line, no traceback."""


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO if options.verbose else logging.WARNING, format="%(levelname)s %(message)s")
    try:
        settings = load_settings(options.config, options.set)
        stopping = Stopping(settings.out / "stop", seconds(options.time_limit))
        return train(settings, StartOptions(options.resume, options.accept_dataset_change), stopping)
    except DiskFull as error:
        return _fail(str(error), 3)
    except torch.OutOfMemoryError as error:
        why = str(error).partition(". ")[0]
        return _fail(
            f"the device's memory does not suffice ({why}): set engine.checkpointing to feed_forward or full, "
            "raise engine.zero_stage, set engine.offload, or lower batch.clips_at_once",
            1,
        )
    except TOLD as error:
        return _fail(str(error), 1)


def train(settings: TrainSettings, options: StartOptions, stopping: Stopping) -> int:
    """A run, from here to its end; the exit code."""
    stopping.listen()
    transformers.utils.logging.disable_progress_bar()
    if settings.engine.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
    ranks = Ranks.join()
    accumulation_steps(settings.batch, ranks.count)
    lock = take_lock(settings.out, ranks)
    try:
        with kept_run(settings, ranks) as kept:
            ending = _run(prepare(settings, options, ranks, stopping, kept))
            unkept = ending.unkept
            if kept is not None and unkept is None:
                unkept = _keep_log(kept)
    finally:
        if lock is not None:
            lock.release()
    if unkept is not None:
        return _fail(f"{ending.saved} is not in {settings.store}: {unkept}. Run the same command to try it again", 3)
    return 0 if ending.saved else 3


def _run(trainer: Trainer) -> Ending:
    log = trainer.log
    try:
        ending = trainer.run()
        if log is not None:
            log.event("ended", step=ending.step, reason=ending.reason, saved=str(ending.saved))
            where = f"checkpoint: {ending.saved}" if ending.saved else "its checkpoint could NOT be written"
            if ending.reason == "the last step":
                log.say(f"finished after step {ending.step}; {where}")
            else:
                told = f"stopped by {ending.reason} after step {ending.step}; {where}; run the same command to go on"
                log.say(told, style="yellow")
        return ending
    finally:
        if log is not None:
            log.close()


def _keep_log(kept: RunStore) -> str | None:
    """Put the end of the log into the store; why it could not."""
    try:
        kept.keep_files()
    except StorageError as error:
        return str(error)
    return None


def take_lock(folder: Path, ranks: Ranks) -> Lock | None:
    """The lock, on the first rank. Raises `RunFolderBusy` on every rank when another run has it."""
    lock, busy = None, None
    if ranks.first:
        try:
            lock = Lock(folder)
            remove_unfinished(folder / "checkpoints")
            (folder / "stop").unlink(missing_ok=True)
        except RunFolderBusy as error:
            busy = str(error)
        except OSError as error:
            busy = f"the run folder {folder} cannot be used: {error.strerror}"
    busy = ranks.from_first(busy)
    if busy:
        raise RunFolderBusy(busy)
    return lock


def seconds(text: str | None) -> float | None:
    """ "90", "30m", "2h", "1d" as seconds. Raises `BadSettings`."""
    if text is None:
        return None
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    number, unit = (text[:-1], units[text[-1]]) if text[-1:] in units else (text, 1)
    try:
        value = float(number) * unit
    except ValueError:
        raise BadSettings(f"--time-limit {text!r}: write seconds, or a number with s, m, h or d") from None
    if not value > 0:
        raise BadSettings(f"--time-limit {text!r}: wants a time above 0")
    return value


def _fail(message: str, code: int) -> int:
    if os.environ.get("RANK", "0") == "0":
        print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return code


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    top.add_argument("--config", required=True, help="a YAML file, or a name in train/configs: vividpose, tiny")
    top.add_argument("--set", action="append", default=[], metavar="A.B=C", help="one setting; may be repeated")
    top.add_argument("--resume", default="auto", metavar="auto|never|FOLDER", help="default: auto, the run's newest")
    top.add_argument("--time-limit", metavar="TIME", help="save and stop after 90, 30m, 2h; Slurm's own limit is known")
    top.add_argument("--accept-dataset-change", action="store_true", help="go on though the dataset is another one")
    top.add_argument("-v", "--verbose", action="store_true", help="log what happens in detail")
    top.add_argument("--local_rank", type=int, help=argparse.SUPPRESS)  # given by the deepspeed launcher
    return top


if __name__ == "__main__":
    sys.exit(main())
