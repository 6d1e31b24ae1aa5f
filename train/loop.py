"""The loop: batches in, optimiser steps, checkpoints, and an ending that loses nothing."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor, nn

from model.edm import SigmaDistribution
from pipelines.engine.storage import StorageError
from train import checkpoint as checkpoints
from train.engine import gradient_norm, set_learning_rate, start_engine, was_skipped
from train.guards import SkippedSteps
from train.log import DecileLosses, Log
from train.masters import Masters
from train.memory import MemoryPlan, comparison, measured
from train.ranks import Ranks
from train.run_store import RunStore
from train.schedule import average_decay, learning_rate
from train.settings import TrainSettings, accumulation_steps
from train.stopping import Stopping
from train.stream.batch import Replaced, TrainBatch


class Batches(Protocol):
    """What the loop needs of a stream; `train.stream.stream.Stream` is one."""

    def __iter__(self) -> Iterator[TrainBatch]: ...

    def state(self) -> dict[str, Any]: ...


class Losses(Protocol):
    """What the loop needs of the module beside its forward: `seen` of `train.module.TrainingModule`."""

    seen: Any


@dataclass(frozen=True)
class Ending:
    """Why a run ended, after which step, and where its last checkpoint is (None: it could not be written). unkept: why
    it is not in the run's store, where there is one."""

    reason: str
    step: int
    saved: Path | None
    unkept: str | None = None


@dataclass(frozen=True)
class SampleLoss:
    index: int
    key: str
    loss: float
    sigma: float


class Trainer:
    """One run from where it stands to its end.

    named: the trainable parameters by name. exact: the fp32 weights by name, where they differ from the module's
    (bf16).
    meta: what every checkpoint holds beside the counters. validate: called between steps; must leave everything as it
    is.
    """

    def __init__(
        self,
        settings: TrainSettings,
        ranks: Ranks,
        module: nn.Module,
        named: Mapping[str, nn.Parameter],
        exact: Mapping[str, Tensor],
        stream: Batches,
        stopping: Stopping,
        log: Log | None,
        meta: Mapping[str, Any],
        plan: MemoryPlan | None = None,
        step_flops: float = 0.0,
        peak: float | None = None,
        kept: RunStore | None = None,
    ) -> None:
        self.settings, self.ranks, self.stream, self.stopping, self.log = settings, ranks, stream, stopping, log
        self.plan, self.step_flops, self.peak, self.kept = plan, step_flops, peak, kept
        self.module = module
        self.accumulation = accumulation_steps(settings.batch, ranks.count)
        self.engine = start_engine(
            module, list(named.values()), settings.engine, settings.optimiser, settings.batch.clips_at_once,
            self.accumulation,
        )  # fmt: skip
        self.masters = Masters(self.engine, named, ranks.rank, ranks.count)
        self.masters.set_weights(exact)
        if settings.ema.decay:
            self.masters.start_average()
        self.meta = {**meta, "parameters": {name: list(p.shape) for name, p in _shapes(named, exact).items()}}
        self.folder = settings.out / "checkpoints"
        self.step = 0
        self.clips = 0
        self.replaced = 0
        self.skipped = SkippedSteps(settings.guards.skipped_in_a_row)
        sigmas = SigmaDistribution(settings.diffusion.sigma_mean, settings.diffusion.sigma_std)
        self.deciles = DecileLosses(sigmas)
        self.validate: Callable[[int], None] | None = None
        self._saved: Path | None = None
        self._unkept: str | None = None

    def resume(self, checkpoint: checkpoints.Checkpoint) -> None:
        """Stand where the checkpoint was made. The stream must already start at its position."""
        checkpoints.restore(checkpoints.FragmentReader(checkpoint), self.masters)
        manifest = checkpoint.manifest
        counters = manifest["counters"]
        self.step, self.clips, self.replaced = checkpoint.step, counters["clips"], counters["replaced"]
        self.skipped.total, self.skipped.in_a_row = counters["skipped"], counters["skipped_in_a_row"]
        self.deciles.load(counters["deciles"])
        self._saved = checkpoint.folder
        if checkpoint.folder.parent == self.folder:
            self._keep(checkpoint.folder)

    def run(self) -> Ending:
        """Train until the last step or a reason to stop. Raises `TrainingFailed` by the guards."""
        batches = iter(self.stream)
        while self.step < self.settings.steps:
            reason = next((r for r in self.ranks.gather(self.stopping.reason()) if r), None)
            if reason:
                return Ending(reason, self.step, self._save(final=True), self._unkept)
            started = time.monotonic()
            self._one_step(batches)
            self.stopping.took("step", time.monotonic() - started)
            if self.step % self.settings.checkpoint.steps == 0 and self.step < self.settings.steps:
                self._save()
            every = self.settings.validation.steps
            if self.validate is not None and every and self.step % every == 0:
                self.validate(self.step)
        return Ending("the last step", self.step, self._save(final=True), self._unkept)

    def _one_step(self, batches: Iterator[TrainBatch]) -> None:
        started = time.monotonic()
        rate = learning_rate(self.settings.optimiser, self.step, self.settings.steps)
        set_learning_rate(self.engine, rate)
        waited = 0.0
        seen: list[SampleLoss] = []
        passes: list[tuple[TrainBatch, Any]] = []
        replaced: list[Replaced] = []
        for _ in range(self.accumulation):
            asked = time.monotonic()
            batch = next(batches)
            waited += time.monotonic() - asked
            replaced += batch.replaced
            loss = self.engine(batch)
            passes.append((batch, self.module.seen))
            self.engine.backward(loss)
            self.engine.step()
        for batch, facts in passes:  # after the last pass: the device is waited for once a step
            losses, sigmas = facts.losses.tolist(), facts.sigmas.tolist()
            seen += [SampleLoss(*one) for one in zip(batch.index.tolist(), batch.keys, losses, sigmas)]
        skipped = was_skipped(self.engine)
        if self.masters.average and not skipped:
            self.masters.update_average(average_decay(self.settings.ema, self.step))
        self.step += 1
        everyone = self.ranks.gather((seen, waited, replaced))
        samples = sorted((one for part in everyone for one in part[0]), key=lambda one: one.index)
        self._count(samples, [one for part in everyone for one in part[2]], skipped)
        seconds = time.monotonic() - started
        if self.log is not None and (self.step % self.settings.log.every == 0 or skipped):
            waits = max(part[1] for part in everyone)
            self.log.step(self.step, self._numbers(samples, rate, seconds, waits, skipped))
        if self.plan is not None and self.log is not None:
            self._tell_first_step(self.plan, passes[0][1].cached)
        self.plan = None
        culprits = [one.key for one in samples if not math.isfinite(one.loss)]
        self.skipped.count(self.step, skipped, culprits)

    def _tell_first_step(self, planned: MemoryPlan, cached: bool) -> None:
        assert self.log is not None
        peak = measured(self.ranks.device)
        self.log.say(comparison(planned, peak))
        self.log.event("first_step", memory_planned=planned.total, memory_peak=peak, latents_cached=cached)

    def _count(self, samples: list[SampleLoss], replaced: list[Replaced], skipped: bool) -> None:
        self.clips += len(samples)
        self.replaced += len(replaced)
        for one in samples:
            self.deciles.add(one.sigma, one.loss)
        if self.log is None:
            return
        for lost in replaced:
            self.log.event("replaced", step=self.step, wanted=lost.wanted, taken=lost.taken, reason=lost.reason)
        if skipped:
            keys = [one.key for one in samples if not math.isfinite(one.loss)]
            self.log.event("skipped", step=self.step, keys=keys)
            self.log.say(f"step {self.step} skipped: loss or gradient not finite {keys}", style="yellow")

    def _numbers(
        self, samples: list[SampleLoss], rate: float, seconds: float, waited: float, skipped: bool
    ) -> dict[str, float]:
        clips_at_once = self.settings.batch.clips_at_once
        tflops = self.step_flops / clips_at_once * len(samples) / self.ranks.count / seconds / 1e12
        numbers = {
            "loss": math.fsum(one.loss for one in samples) / len(samples),
            "gradient_norm": gradient_norm(self.engine),
            "learning_rate": rate,
            "clips": self.clips,
            "seconds": seconds,
            "clips_per_second": len(samples) / seconds,
            "data_wait": waited / seconds,
            "skipped": self.skipped.total + int(skipped),
            "replaced": self.replaced,
            **self.deciles.means(),
        }
        if tflops:
            numbers["tflops_per_rank"] = tflops
        if tflops and self.peak:
            numbers["share_of_peak"] = tflops / self.peak
        memory = measured(self.ranks.device)
        if memory is not None:
            numbers["memory_peak_gb"] = memory / 1e9
        return numbers

    def _save(self, final: bool = False) -> Path | None:
        """The checkpoint, or None when it could not be written: then the run goes on, with what it had."""
        if self._saved is not None and self._saved.name == checkpoints.step_name(self.step):
            self._keep(self._saved)
            return self._saved
        started = time.monotonic()
        counters = {
            "clips": self.clips,
            "replaced": self.replaced,
            "skipped": self.skipped.total,
            "skipped_in_a_row": self.skipped.in_a_row,
            "deciles": self.deciles.state(),
        }
        meta = {**self.meta, "counters": counters, "stream": self.stream.state(), "ranks": self.ranks.count}
        try:
            saved = checkpoints.save(self.folder, self.step, self.masters, meta, self.ranks)
        except checkpoints.CheckpointFailed as error:
            if self.log is not None:
                kept = f"the one in {self._saved} is whole" if self._saved else "there is none yet"
                self.log.say(f"checkpoint of step {self.step} could not be written ({error}); {kept}", style="red")
                self.log.event("checkpoint_failed", step=self.step, reason=str(error))
            return None
        self._saved = saved
        if self.ranks.first:
            checkpoints.prune(self.folder, self.settings.checkpoint)
        if self.log is not None:
            self.log.event("checkpoint", step=self.step, folder=str(saved), final=final)
        self._keep(saved)
        self.stopping.took("checkpoint", time.monotonic() - started)
        return saved

    def _keep(self, saved: Path) -> None:
        """Put a checkpoint into the run's store. Where that fails the run goes on, and the next one is tried."""
        if self.kept is None or self.kept.newest == checkpoints.step_of(saved):
            return
        self._unkept = None
        started = time.monotonic()
        try:
            self.kept.keep(saved, self.settings.checkpoint)
        except StorageError as error:
            self._unkept = str(error)
        if self.log is None:
            return
        if self._unkept:
            self.log.say(f"{saved} could not be put into {self.kept.url} ({self._unkept})", style="red")
            self.log.event("not_kept", step=self.step, reason=self._unkept)
        else:
            self.log.event("kept", step=self.step, store=self.kept.url, seconds=time.monotonic() - started)


def _shapes(named: Mapping[str, nn.Parameter], exact: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """ZeRO 3 empties the parameters, so the shapes come from the exact weights."""
    return {name: exact[name] for name in named}
