"""What a run says: JSON lines for machines, TensorBoard, W&B where it is installed, and a line for the person
watching."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from model.edm import SigmaDistribution
from train.settings import LogSettings

SHOWN = ("loss", "gradient_norm", "clips_per_second", "data_wait", "skipped")


class DecileLosses:
    """The mean loss by decile of the noise level. The plain mean hides nearly everything: it is flat while low noise
    learns. Each decile is the mean of what it saw lately (exponential, factor 0.98 per sample)."""

    def __init__(self, distribution: SigmaDistribution, factor: float = 0.98) -> None:
        self.distribution = distribution
        self.factor = factor
        self.sums = [0.0] * 10
        self.weights = [0.0] * 10

    def add(self, sigma: float, loss: float) -> None:
        if math.isfinite(loss):
            decile = min(9, int(10 * float(self.distribution.cdf(torch.tensor(sigma)))))
            self.sums[decile] = self.factor * self.sums[decile] + loss
            self.weights[decile] = self.factor * self.weights[decile] + 1

    def means(self) -> dict[str, float]:
        return {f"loss_decile/{i}": s / w for i, (s, w) in enumerate(zip(self.sums, self.weights)) if w}

    def state(self) -> dict[str, list[float]]:
        return {"sums": list(self.sums), "weights": list(self.weights)}

    def load(self, state: dict[str, list[float]]) -> None:
        self.sums, self.weights = list(state["sums"]), list(state["weights"])


class Log:
    """All sinks of a run; only rank 0 has one. step: where the run continues, so that TensorBoard drops what a killed
    run had written beyond it."""

    def __init__(self, folder: Path, settings: LogSettings, steps: int, step: int, run: dict[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.console = Console(stderr=True)
        self._lines = (folder / "log.jsonl").open("a", encoding="utf-8")
        self._board: Any = None
        self._wandb: Any = None
        if settings.tensorboard:
            self._board = _tensorboard(folder, step, self.say)
        if settings.wandb_project:
            self._wandb = _wandb(folder, settings.wandb_project, run, self.say)
        self._progress = Progress(
            TextColumn("step"), MofNCompleteColumn(), BarColumn(None), TextColumn("{task.fields[told]}"),
            TimeRemainingColumn(), console=self.console, disable=not self.console.is_terminal,
        )  # fmt: skip
        self._task = self._progress.add_task("", total=steps, completed=step, told="")
        self._progress.start()

    def say(self, text: str, style: str | None = None) -> None:
        self.console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    def event(self, name: str, **values: Any) -> None:
        """A line of its own kind: "started", "resumed", "checkpoint", "replaced", "validation", ..."""
        self._write({"event": name, **values})

    def step(self, step: int, values: dict[str, float]) -> None:
        """The numbers of a step, by name."""
        self._write({"step": step, **values})
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name if "/" in name else f"train/{name}", value, step)
        if self._wandb is not None:
            self._wandb.log(values, step=step)
        told = "  ".join(f"{name} {values[name]:.4g}" for name in SHOWN if name in values)
        self._progress.update(self._task, completed=step, told=told)
        if told and not self.console.is_terminal:
            self.say(f"step {step}  {told}")

    def picture(self, name: str, path: Path, step: int) -> None:
        """A picture file, where the sinks show pictures."""
        if self._board is not None:
            import numpy as np
            from PIL import Image

            with Image.open(path) as image:
                self._board.add_image(name, np.asarray(image.convert("RGB")), step, dataformats="HWC")
        if self._wandb is not None:
            self._wandb.log({name: _wandb_image(path)}, step=step)

    def close(self) -> None:
        self._progress.stop()
        self._lines.close()
        if self._board is not None:
            self._board.close()
        if self._wandb is not None:
            self._wandb.finish()

    def _write(self, values: dict[str, Any]) -> None:
        plain = {k: (str(v) if isinstance(v, float) and not math.isfinite(v) else v) for k, v in values.items()}
        self._lines.write(json.dumps(plain) + "\n")
        self._lines.flush()


def _tensorboard(folder: Path, step: int, say: Any) -> Any:
    if importlib.util.find_spec("tensorboard") is None:
        say("TensorBoard is not installed: log.jsonl has the same numbers (pip install 'vividpose[train]')")
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(folder / "tensorboard", purge_step=step + 1 if step else None)


def _wandb(folder: Path, project: str, run: dict[str, Any], say: Any) -> Any:
    if importlib.util.find_spec("wandb") is None:
        say("W&B is not installed, log.wandb_project is without effect (pip install wandb)")
        return None
    import wandb

    return wandb.init(project=project, dir=str(folder), id=folder.resolve().name, resume="allow", config=run)


def _wandb_image(path: Path) -> Any:
    import wandb

    return wandb.Image(str(path))
