"""Whether a model can be loaded, and whether it is meant for a job, told before anything is estimated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from pipelines.animate.cautions import Caution
from pipelines.animate.model_source import ModelFacts
from pipelines.engine.setup_error import SetupError

# Frames a second may differ so much from those of the training before it is worth a caution.
NEAR = 1.3


def check_model(facts: ModelFacts) -> None:
    """Look at the configurations and the weights' headers, not at the weights. Raises `SetupError` for what is missing,
    cut short, or of another network."""
    from model.config import parse_config
    from model.folder import check_folder
    from model.weight_files import BadFolder, read_json

    try:
        if facts.folder is not None:
            index = read_json(Path(facts.folder) / "model_index.json", "a VividPose folder")
            check_folder(facts.folder, parse_config(index.get("config"), facts.folder))
        check_encoders(Path(facts.encoders))
    except BadFolder as error:
        raise SetupError(f"model: {error}") from error


def check_encoders(folder: Path) -> None:
    """The same of `vae/` and `image_encoder/`. Raises `BadFolder`."""
    from diffusers.models import AutoencoderKLTemporalDecoder
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    from model.weight_files import check_readable

    def vae(config: dict[str, Any]) -> Any:
        return AutoencoderKLTemporalDecoder.from_config(config)

    def image_encoder(config: dict[str, Any]) -> Any:
        return CLIPVisionModelWithProjection(CLIPVisionConfig.from_dict(config))

    parts: tuple[tuple[str, str, Callable[[dict[str, Any]], Any]], ...] = (
        ("vae", "diffusion_pytorch_model", vae),
        ("image_encoder", "model", image_encoder),
    )
    for part, stem, make in parts:
        _made(folder / part, make)
        check_readable(folder / part, stem)


def _made(folder: Path, make: Callable[[dict[str, Any]], Any]) -> None:
    import torch

    from model.weight_files import BadFolder, read_json

    config = read_json(folder / "config.json", "a folder of Stable Video Diffusion or of VividPose")
    try:
        with torch.device("meta"):
            make(config)
    # Whatever a network's constructor does not like of a configuration.
    except (ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError) as error:
        told = str(error).strip().splitlines()
        why = told[0] if told else type(error).__name__
        raise BadFolder(f"{folder / 'config.json'} describes no network that can be made: {why}") from error


def skeleton_of(asked: str, facts: ModelFacts | None) -> str:
    """The drawing style of a run: the model's own, unless it is not known. Raises `SetupError` for another one."""
    from pipelines.body.skeleton import Style

    styles = get_args(Style)
    known = facts.trained_on if facts is not None else None
    if known is None:
        return "plain" if asked == "auto" else asked
    if known.skeleton not in styles:
        raise SetupError(
            f"model: it was trained with skeletons drawn {known.skeleton!r}, this version draws {', '.join(styles)}"
        )
    if asked not in ("auto", known.skeleton):
        raise SetupError(
            f"skeleton: the model was trained with {known.skeleton!r} skeletons, {asked!r} ones mean nothing to it: "
            "leave the setting out"
        )
    return known.skeleton


def model_cautions(facts: ModelFacts, size: tuple[int, int], fps: float | None) -> list[Caution]:
    """What a job asks of the model that it was not trained for. size: (width, height). fps: of the result;
    None: not known yet."""
    known = facts.trained_on
    if known is None:
        return []
    found = []
    if size != known.size:
        made = f"{known.size[0]}x{known.size[1]}"
        told = f"the model was trained on {made}, the job works at {size[0]}x{size[1]}: size={made} suits it"
        found.append(Caution("other_size", told))
    if known.fps is not None and fps is not None:
        rates = [known.fps / stride for stride in known.strides]
        if not any(1 / NEAR <= fps / rate <= NEAR for rate in rates):
            made = " or ".join(f"{rate:g}" for rate in rates)
            told = f"the model was trained on {made} frames a second, the job has {fps:.3g}: fps={rates[0]:g} suits it"
            found.append(Caution("other_fps", told))
    return found
