"""From settings to a trainer that is ready to run: model, encoders, stream, first look, resume."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from model.config import as_data, load_config, parse_config
from model.folder import create, from_pretrained, load_model
from model.vividpose import VividPose
from pipelines.engine.atomic import whole_file
from pipelines.latents_format import encoders_digest
from pipelines.settings import BadSettings, plain
from train import checkpoint as checkpoints
from train.encoders import encoders_folder, open_encoders
from train.guards import refuse_unused
from train.log import Log
from train.loop import Trainer
from train.memory import plan
from train.module import TrainingModule
from train.probe import Probe, probe
from train.ranks import Ranks
from train.run_folder import FROZEN, code_version, save_settings
from train.run_store import RunStore
from train.settings import TrainSettings, differences
from train.stopping import Stopping
from train.stream.batch import collate
from train.stream.order import rank_positions
from train.stream.stream import Stream
from train.throughput import peak_tflops
from train.validate import Validation


@dataclass(frozen=True)
class StartOptions:
    """resume: "auto", "never", or a folder: a checkpoint, or another run's folder, whose newest is taken."""

    resume: str = "auto"
    accept_dataset_change: bool = False


def prepare(
    settings: TrainSettings, options: StartOptions, ranks: Ranks, stopping: Stopping, kept: RunStore | None = None
) -> Trainer:
    """Everything before the first step. The run folder must be locked. Raises the errors that `train.main` tells."""
    checkpoint, told = find_checkpoint(settings.out, options.resume, ranks, kept)
    if checkpoint is not None:
        told += changed_settings(checkpoint, settings)
    model = build_model(settings, checkpoint)
    named = trained_parameters(model, settings.model.groups)
    frozen = {name: p for name, p in model.named_parameters() if name not in named}
    load_weights(model, named, frozen, checkpoint, settings.out)
    encoders = open_encoders(settings.encoders, model.config, ranks.device)
    hashed = ranks.from_first(encoders_digest(encoders_folder(settings.encoders)) if ranks.first else "")
    if checkpoint is not None and checkpoint.manifest["encoders"] != hashed:
        raise BadSettings(
            f"encoders.folder {settings.encoders.folder} holds other weights than those that {checkpoint.folder} was "
            "trained with: its latents mean something else to the networks. Put the old ones back"
        )
    stream, position_told = open_stream(settings, checkpoint, options, ranks, hashed)
    told += position_told
    module = TrainingModule(model, encoders, settings.diffusion, settings.seed, _autocast(settings))
    exact = {name: parameter.data for name, parameter in model.named_parameters()}
    _cast(module, ranks.device, settings)
    model.set_checkpointing(settings.engine.checkpointing)
    looked = first_look(module, named, stream, settings, ranks)
    if settings.engine.compile:
        model.compile_blocks()
    meta = {
        "settings": plain(settings),
        "code": ranks.from_first(code_version()),
        "dataset_hash": stream.hash,
        "encoders": hashed,
        "model": as_data(model.config),
        "zero_stage": settings.engine.zero_stage,
    }
    log = None
    if ranks.first:
        if frozen and (checkpoint is None or not (settings.out / FROZEN).exists()):
            with whole_file(settings.out / FROZEN) as path:
                save_file({name: exact[name].contiguous() for name in frozen}, path)
        run = {**meta, "ranks": ranks.count, "resumed_from": str(checkpoint.folder) if checkpoint else None}
        save_settings(settings.out, run)
        log = Log(settings.out, settings.log, settings.steps, checkpoint.step if checkpoint else 0, run)
    states = plan(
        settings.engine,
        sum(exact[name].numel() for name in named),
        sum(exact[name].numel() for name in frozen),
        encoders.bytes(),
        settings.ema.decay > 0,
        ranks.count,
        looked.saved_bytes,
    )
    trainer = Trainer(
        settings, ranks, module, named, exact, stream, stopping, log, meta, states, looked.step_flops,
        peak_tflops(ranks.device, settings.engine.precision, settings.log.peak_tflops), kept,
    )  # fmt: skip
    if checkpoint is not None:
        trainer.resume(checkpoint)
    if settings.validation.steps and settings.validation.clips:
        trainer.validate = Validation(settings, module, trainer.masters, named, ranks, log)
    if log is not None:
        _tell(log, trainer, checkpoint, told, looked, stream)
    return trainer


def find_checkpoint(
    out: Path, resume: str, ranks: Ranks, kept: RunStore | None = None
) -> tuple[checkpoints.Checkpoint | None, list[str]]:
    """Where to go on from, and what to tell about it. Collective. Raises `BadSettings`, `BadCheckpoint`."""
    own = out / "checkpoints"
    if resume != "auto" and kept is not None and kept.newest:
        raise BadSettings(f"--resume {resume}: {kept.url} holds checkpoints; give the new run another place with store")
    if resume == "never":
        if ranks.from_first(any(own.glob("step-*"))):
            raise BadSettings(f"--resume never: {own} holds checkpoints; give the new run a folder with --set out=...")
        return None, []
    if resume == "auto":
        found, reasons = checkpoints.newest(own, ranks)
        if kept is not None:
            fetched, passed_over = kept.fetch_newer(found.step if found else 0)
            found, reasons = fetched or found, [*reasons, *passed_over]
    elif (Path(resume) / checkpoints.MANIFEST).exists():
        found, reasons = checkpoints.opened(Path(resume), ranks), []
    else:
        found, reasons = checkpoints.newest(Path(resume) / "checkpoints", ranks)
    newer = ranks.from_first([name for name in (path.name for path in own.glob("step-*")) if name > _name(found)])
    if found is not None and newer and resume != "auto":
        raise BadSettings(
            f"--resume {resume}: {own} holds newer checkpoints ({max(newer)}), which the next start would take "
            "instead; give this run another folder with --set out=..., or move them away"
        )
    told = [f"passed over: {reason}" for reason in reasons]
    if found is None and (reasons or resume != "auto"):
        where = own if resume == "auto" else resume
        because = f" ({'; '.join(reasons)})" if reasons else ""
        raise checkpoints.BadCheckpoint(
            f"there is no complete checkpoint in {where}{because}. To begin anew, give the run another folder with "
            "--set out=..."
        )
    return found, told


def _name(checkpoint: checkpoints.Checkpoint | None) -> str:
    return f"step-{checkpoint.step:08d}" if checkpoint else ""


def changed_settings(checkpoint: checkpoints.Checkpoint, settings: TrainSettings) -> list[str]:
    """What differs from the settings of the checkpoint, a line each. Raises `BadSettings` for what must not differ."""
    changed = differences(checkpoint.manifest["settings"], json.loads(json.dumps(plain(settings))))
    for line in changed:
        if line.startswith(("batch.clips:", "model.config:", "model.groups", "seed:")):
            raise BadSettings(
                f"the checkpoint {checkpoint.folder} was made with another setting, {line}, which must stay for a run "
                "to go on; start a new run with --set out=..., from exported weights with --set model.pretrained=..."
            )
    return [f"changed since the checkpoint: {line}" for line in changed]


def build_model(settings: TrainSettings, checkpoint: checkpoints.Checkpoint | None) -> VividPose:
    """On the CPU, in fp32 and training mode. A resumed run needs no pretrained folder: its weights are in its own."""
    start = settings.model
    if checkpoint is not None:
        model = create(parse_config(checkpoint.manifest["model"], str(checkpoint.folder)), settings.seed)
    elif start.pretrained is not None:
        model = load_model(start.pretrained)
    elif start.svd is not None and start.sd21 is not None:
        model = from_pretrained(start.svd, start.sd21, load_config(start.config), settings.seed)
    else:
        model = create(load_config(start.config), settings.seed)
    return model.train()


def trained_parameters(model: VividPose, groups: tuple[str, ...]) -> dict[str, nn.Parameter]:
    """The parameters that train, by name; the others are frozen. Raises `BadSettings` for an unknown group."""
    known = model.groups()
    unknown = [group for group in groups if group not in known and group != "all"]
    if unknown or not groups:
        raise BadSettings(f"model.groups: there is no {', '.join(unknown)}; there are all, {', '.join(known)}")
    wanted = {id(p) for group, members in known.items() if group in groups or "all" in groups for p in members}
    for parameter in model.parameters():
        parameter.requires_grad_(id(parameter) in wanted)
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


@torch.no_grad()
def load_weights(
    model: VividPose,
    named: Mapping[str, nn.Parameter],
    frozen: Mapping[str, nn.Parameter],
    checkpoint: checkpoints.Checkpoint | None,
    out: Path,
) -> None:
    """Fill the model with the checkpoint's weights and the run's frozen ones. Raises `BadCheckpoint`."""
    if checkpoint is None:
        return
    reader = checkpoints.FragmentReader(checkpoint)
    missing, surplus = named.keys() - reader.shapes.keys(), reader.shapes.keys() - named.keys()
    if missing or surplus:
        raise checkpoints.BadCheckpoint(
            f"{checkpoint.folder} belongs to another model: it lacks {len(missing)} parameters "
            f"({', '.join(sorted(missing)[:3])}), has {len(surplus)} unknown ones ({', '.join(sorted(surplus)[:3])})"
        )
    for name, parameter in named.items():
        if list(parameter.shape) != reader.shapes[name]:
            raise checkpoints.BadCheckpoint(
                f"{checkpoint.folder}: {name} has shape {reader.shapes[name]}, the model wants {list(parameter.shape)}"
            )
        parameter.copy_(reader.whole("weight", name))
    if frozen:
        for name, tensor in frozen_weights(checkpoint.folder).items():
            frozen[name].copy_(tensor)


def frozen_weights(checkpoint: Path) -> dict[str, Tensor]:
    """The frozen parameters of the run that a checkpoint's folder belongs to. Raises `BadCheckpoint` without them."""
    path = checkpoint.parent.parent / FROZEN
    if not path.is_file():
        raise checkpoints.BadCheckpoint(f"{path} is missing: it holds the weights that {checkpoint} does not train")
    return load_file(path)


def open_stream(
    settings: TrainSettings,
    checkpoint: checkpoints.Checkpoint | None,
    options: StartOptions,
    ranks: Ranks,
    encoders: str,
) -> tuple[Stream, list[str]]:
    """The stream at the checkpoint's position. encoders: their digest, for cached latents. Raises `StreamChanged`
    unless a changed dataset is accepted."""
    start = checkpoint.manifest["stream"]["position"] if checkpoint else 0
    data = replace(settings.data, pin_memory=settings.data.pin_memory or ranks.device.type == "cuda")
    stream = Stream(data, ranks.rank, ranks.count, settings.batch.clips_at_once, start, encoders)
    if checkpoint is None:
        return stream, []
    if options.accept_dataset_change:
        old = checkpoint.manifest["stream"]["dataset_hash"]
        return stream, [] if old == stream.hash else [f"the dataset changed, as accepted: {old} -> {stream.hash}"]
    stream.check(checkpoint.manifest["stream"])
    return stream, []


def first_look(
    module: TrainingModule, named: Mapping[str, nn.Parameter], stream: Stream, settings: TrainSettings, ranks: Ranks
) -> Probe:
    """Measure a step and refuse parameters without a gradient. Raises `TrainingFailed`."""
    at_once = settings.batch.clips_at_once
    positions = rank_positions(stream.position, 0, ranks.rank, ranks.count, at_once)
    batch = collate([stream.samples[position] for position in positions])
    looked = probe(module, named, batch)
    refuse_unused(looked.unused)
    if ranks.device.type == "cuda":  # what the first look took shall not be counted as the first step's
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(ranks.device)
    return looked


def _autocast(settings: TrainSettings) -> bool:
    return settings.engine.zero_stage == 0 and settings.engine.precision == "bf16"


@torch.no_grad()
def _cast(module: nn.Module, device: torch.device, settings: TrainSettings) -> None:
    """Onto the device, in the precision of the run, as the engine would; the fp32 tensors of before stay as they
    are."""
    half = settings.engine.precision == "bf16" and settings.engine.zero_stage > 0
    for parameter in module.parameters():
        parameter.data = parameter.data.to(device, torch.bfloat16 if half else torch.float32)
    for buffer in module.buffers():
        buffer.data = buffer.data.to(device)


def _tell(
    log: Log,
    trainer: Trainer,
    checkpoint: checkpoints.Checkpoint | None,
    told: list[str],
    looked: Probe,
    stream: Stream,
) -> None:
    settings, ranks = trainer.settings, trainer.ranks
    for line in told:
        log.say(line, style="yellow")
    begins = f"going on after step {checkpoint.step} ({checkpoint.folder})" if checkpoint else "beginning anew"
    log.say(
        f"{settings.out}: {begins}; {settings.batch.clips} clips a step = {ranks.count} ranks x "
        f"{settings.batch.clips_at_once} clips x {trainer.accumulation} passes; ZeRO {settings.engine.zero_stage}, "
        f"{settings.engine.precision}; {looked.step_flops / 1e12 / settings.batch.clips_at_once:.3g} TFLOP a clip"
    )
    if trainer.kept is not None:
        log.say(f"kept in {trainer.kept.url}")
    log.say(f"cached latents are {'used' if stream.latents_used else 'not used'}: {stream.latents_reason}")
    log.say("memory of a rank, planned:")
    if trainer.plan is not None:
        for line in trainer.plan.lines():
            log.say(f"  {line}")
    event: dict[str, Any] = {"step": trainer.step, "ranks": ranks.count, "code": trainer.meta["code"], "told": told}
    log.event("resumed" if checkpoint else "started", **event)
