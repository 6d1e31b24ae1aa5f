"""Training runs in processes of their own, small, and quick to start: they are forked from a server that has imported
everything already. They can really be killed."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("DS_ACCELERATOR", "cpu")
os.environ.setdefault("OMP_NUM_THREADS", "1")
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["deepspeed", "train.main"])

MODEL = Path(__file__).with_name("tiny_of_tiny.yaml")
PATIENCE = 240.0


def _enter(arguments: list[str], environment: dict[str, str], told: str) -> None:
    descriptor = os.open(told, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_PORT", "SLURM_JOB_END_TIME"):
        os.environ.pop(name, None)
    os.environ.update(environment)
    if "FILE_LIMIT" in environment:
        limit = int(environment["FILE_LIMIT"])
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    from train.main import main

    sys.exit(main(arguments))


@dataclass
class Run:
    """A run of one or several processes. out: its folder."""

    out: Path
    processes: list[Any]
    told_file: Path

    @property
    def told(self) -> str:
        return self.told_file.read_text()

    def wait(self) -> int:
        """The largest exit code of the ranks."""
        for process in self.processes:
            process.join(PATIENCE)
            if process.exitcode is None:
                self.send(signal.SIGKILL)
                raise AssertionError(f"still running: {self.told}")
        return max(process.exitcode for process in self.processes)

    def wait_for_step(self, step: int) -> None:
        """Until the log has a step, or the run ended."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and any(p.is_alive() for p in self.processes):
            if max(losses(self.out), default=0) >= step:
                return
            time.sleep(0.02)

    def send(self, number: signal.Signals) -> None:
        for process in self.processes:
            if process.is_alive():
                os.kill(process.pid, number)


@dataclass(frozen=True)
class Small:
    """Where the parts of a small run are."""

    folder: Path
    data: Path
    encoders: Path

    def inside(self, folder: Path) -> Small:
        """The same parts for runs in another folder."""
        return Small(folder, self.data, self.encoders)

    def start(self, name: str, *more: str, ranks: int = 1, environment: dict[str, str] | None = None) -> Run:
        """Begin, or go on with, the run in `folder / name`. more: further arguments."""
        out = self.folder / name
        told = self.folder / f"{name}.{len(list(self.folder.glob(f'{name}.*.told')))}.told"
        arguments = ["--config", "tiny", *self.settings(out), *more]
        shared = dict(environment or {})
        if ranks > 1:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
        processes = []
        told.touch()
        for rank in range(ranks):
            own = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks)} if ranks > 1 else {}
            process = _SERVER.Process(target=_enter, args=(arguments, shared | own, str(told)))
            process.start()
            processes.append(process)
        return Run(out, processes, told)

    def settings(self, out: Path) -> list[str]:
        values = {
            "out": out,
            "steps": 6,
            "model.config": MODEL,
            "encoders.folder": self.encoders,
            "data.data": json.dumps([{"data": str(self.data)}]),
            "data.window": 4,
            "data.clip": json.dumps({"frames": 3, "size": [32, 48]}),
            "optimiser.warmup": 3,
            "optimiser.schedule": "constant",
            "checkpoint.steps": 2,
            "validation.steps": 0,
            "log.tensorboard": "false",
        }
        return [part for name, value in values.items() for part in ("--set", f"{name}={value}")]


def lines(out: Path) -> list[dict[str, Any]]:
    path = out / "log.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def losses(out: Path) -> dict[int, float]:
    """The loss of each step; of steps that were done twice, the last."""
    return {line["step"]: line["loss"] for line in lines(out) if "loss" in line}
