"""Which model a run uses, identified by content, and bringing it into memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.animate.settings import ModelSettings
from pipelines.engine.atomic import digest
from pipelines.engine.setup_error import SetupError

if TYPE_CHECKING:
    import torch

    from model.animator import Animator
    from model.config import VividPoseConfig
    from model.encoders import Encoders
    from model.trained_on import TrainedOn

TINY_SEED = 0
PARTS = ("unet", "reference_net", "identity", "pose")
ENCODER_PARTS = ("vae", "image_encoder", "feature_extractor")


@dataclass(frozen=True)
class ModelFacts:
    """A model before it is loaded. Small: it travels to the actors.

    folder: of its weights; None: random weights of the tiny configuration, which give noise. hash: over the content of
    all files. told: for people. size, frames (of a window): what it was trained on where its folder says so
    (trained_on), else what its networks were set up for.
    """

    name: str
    folder: str | None
    encoders: str
    hash: str
    told: str
    size: tuple[int, int]
    multiple: int
    frames: int
    trained_on: TrainedOn | None = None


def find_model(settings: ModelSettings, content: Callable[[Path], str]) -> ModelFacts:
    """Look at the folders and identify them; nothing is loaded. Raises `SetupError`.

    content: sha256 of a file, remembered by the caller.
    """
    from model.config import BadConfig, load_config, parse_config
    from model.encoders import TINY
    from model.trained_on import read_trained_on
    from model.weight_files import BadFolder, read_json

    trained_on = None
    folder: Path | None = Path(settings.folder)
    if settings.folder == "tiny":
        folder = TINY if (TINY / "model_index.json").is_file() else None
    try:
        if folder is None:
            config = load_config("tiny")
        else:
            index = read_json(folder / "model_index.json", "a VividPose folder")
            if index.get("_class_name") != "VividPose":
                raise BadFolder(f"{folder} holds a {index.get('_class_name')}, expected a VividPose")
            config = parse_config(index.get("config"), f"{folder / 'model_index.json'}: config")
            trained_on = read_trained_on(index, str(folder / "model_index.json"))
    except (BadFolder, BadConfig) as error:
        raise SetupError(f"model: {error}") from error
    encoders = _encoders(settings, folder, config)
    for part in ("vae", "image_encoder"):
        if not (encoders / part / "config.json").is_file():
            raise SetupError(f"model: {encoders / part} is not there or has no config.json: say where with --encoders")
    hashes = {f"encoders/{name}": content(path) for name, path in _files(encoders, ENCODER_PARTS)}
    if folder is None:
        from model.config import as_data

        hashes["random"] = digest([TINY_SEED, as_data(config)])
        told = "tiny, with random weights: it makes noise, and shows only that everything works"
    else:
        files = [("model_index.json", folder / "model_index.json"), *_files(folder, PARTS)]
        hashes |= {name: content(path) for name, path in files}
        told = f"{config.name}, {folder}" + ("" if trained_on is None else f", trained on {trained_on}")
    side = config.unet.sample_size * config.vae.scale_factor
    multiple = config.size_multiple
    size = (max(multiple, round(side * 2 / 3 / multiple) * multiple), side)
    return ModelFacts(
        name=config.name,
        folder=None if folder is None else str(folder.resolve()),
        encoders=str(encoders.resolve()),
        hash=digest(hashes),
        told=told,
        size=size if trained_on is None else trained_on.size,
        multiple=multiple,
        frames=config.unet.num_frames if trained_on is None else trained_on.frames,
        trained_on=trained_on,
    )


def _encoders(settings: ModelSettings, folder: Path | None, config: VividPoseConfig) -> Path:
    from model.encoders import TINY

    if settings.encoders is not None:
        return Path(settings.encoders)
    if folder is not None and (folder / "vae").is_dir():
        return folder
    if config.name == "tiny":
        return TINY
    raise SetupError(
        f"model: {folder} has no vae/ and image_encoder/: say where they are with --encoders (the folder of Stable "
        "Video Diffusion has them)"
    )


def _files(folder: Path, parts: Sequence[str]) -> list[tuple[str, Path]]:
    found = []
    for part in parts:
        for path in sorted((folder / part).glob("*")):
            if path.suffix in (".safetensors", ".json") and path.is_file():
                found.append((f"{part}/{path.name}", path))
    return found


@dataclass
class Clock:
    """Seconds that parts of the work took, by name."""

    seconds: dict[str, float]

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


@lru_cache(maxsize=1)
def load_animator(facts: ModelFacts, devices: tuple[str, ...], precision: str) -> Animator:
    """The model on the first device, with replicas on the others; a process that asks again is given the same.

    Raises `SetupError`."""
    import torch
    from transformers.utils import logging

    from model.animator import Animator
    from model.encoders import load_encoders
    from model.folder import create, load_model
    from model.weight_files import BadFolder

    logging.disable_progress_bar()
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    try:
        models = []
        for device in devices:
            if facts.folder is None:
                from model.config import load_config

                model = create(load_config("tiny"), TINY_SEED).to(dtype).eval()
            else:
                model = load_model(facts.folder, dtype)
            models.append(model.to(device))
        encoders = _timed(load_encoders(facts.encoders, devices[0], dtype))
    except BadFolder as error:
        raise SetupError(f"model: {error}") from error
    try:
        return Animator(models[0], encoders, models[1:])
    except ValueError as error:  # what it refuses: encoders of another model
        raise SetupError(f"model: {error}") from error


def place_visitors(animator: Animator, offload: bool) -> None:
    """What is needed only once for a video (CLIP's encoder, the ReferenceNet): on the CPU in between, or with the rest.
    The replicas never need theirs."""
    home = "cpu" if offload else animator.models[0].unet.conv_in.weight.device
    animator.encoders.image.to(home)
    animator.models[0].reference_net.to(home)
    for replica in animator.models[1:]:
        replica.reference_net.to("cpu")


def _timed(encoders: Encoders) -> Encoders:
    """The same encoders with a VAE that knows how long it worked: `clock_of`."""
    from model.vae import Vae

    class TimedVae(Vae):
        clock = Clock({})

        def decode(self, latents: torch.Tensor) -> torch.Tensor:
            with self.clock("decode"):
                pictures = super().decode(latents)
                _finish(pictures)
                return pictures

    return replace(encoders, vae=TimedVae(encoders.vae.net))


def _finish(result: torch.Tensor) -> None:
    """Wait for the device: what it still has to do would be put down to whoever asks next."""
    if result.is_cuda:
        import torch

        torch.cuda.synchronize(result.device)


def decode_clock(animator: Animator) -> Clock:
    """The clock of an animator's decoder."""
    clock = getattr(animator.encoders.vae, "clock", None)
    return clock if isinstance(clock, Clock) else Clock({})
