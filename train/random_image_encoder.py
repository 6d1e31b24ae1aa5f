"""Write the image encoder of the `tiny` configuration: CLIP's class, small, with random weights from a seed.

    python -m train.random_image_encoder --out model/tiny

Random features are enough to tell pictures apart; they carry no meaning.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from model.image_encoder import CLIP_MEAN, CLIP_STD

CONFIG: dict[str, Any] = {
    "image_size": 224,
    "patch_size": 32,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "projection_dim": 32,
}


@torch.no_grad()
def random_image_encoder(seed: int) -> CLIPVisionModelWithProjection:
    """Weights wide enough that the token depends on the picture: as initialised, all pictures give nearly the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = CLIPVisionModelWithProjection(CLIPVisionConfig(**CONFIG))
        for name, parameter in net.named_parameters():
            if "embeddings" in name and "patch" not in name:
                parameter.zero_()  # the class token and the places: the same for all pictures
            elif parameter.ndim > 1:
                torch.nn.init.orthogonal_(parameter.flatten(1), 2.0)
    return net.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder that gets image_encoder and feature_extractor")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    random_image_encoder(options.seed).half().save_pretrained(options.out / "image_encoder")
    preprocessor = options.out / "feature_extractor" / "preprocessor_config.json"
    preprocessor.parent.mkdir(parents=True, exist_ok=True)
    settings = {"image_processor_type": "CLIPImageProcessor", "image_mean": CLIP_MEAN, "image_std": CLIP_STD}
    preprocessor.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
