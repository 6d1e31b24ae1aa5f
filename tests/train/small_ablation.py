"""An ablation whose data is there already: small shards, and a truth that belongs to them."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import numpy as np
import yaml

from pipelines.settings import plain
from tests.train.stream.small_shards import key_of, small_dataset
from train.ablation.settings import AblationSettings, ClipSettings, DataSettings
from train.settings import OptimiserSettings

MODEL = Path(__file__).with_name("tiny_of_ablation.yaml")
FRAMES = 20
SETTINGS = AblationSettings(
    model=str(MODEL), seeds=1, base_steps=2, steps=4, batch=2, autocast=False, checkpoint=2, sampling=(5.0, 0.5),
    resamples=50, data=DataSettings(frames=FRAMES),
    clips=ClipSettings(frames=2, size=32, whole=32, stride=3, windows=1, test_windows=2),
    optimiser=OptimiserSettings(learning_rate=1e-3, warmup=1),
)  # fmt: skip


def small_ablation(out: Path) -> Path:
    """OUT as it is after the data is made: 6 films of 3 people to train on, 4 of 2 people to test on."""
    films = [("train", number) for number in range(6)] + [("test", number) for number in range(6, 10)]
    for split, first, count in (("train", 0, 6), ("test", 6, 4)):
        small_dataset(out / "shards" / split, (count,), FRAMES, first)
    truth = out / "films" / "truth"
    (truth / "regions").mkdir(parents=True)
    told = []
    for split, number in films:
        name = f"{split}-{number}"
        told.append({"name": name, "person": f"{split}-p{number // 2}", "opening": "turned",
                     "sha256": key_of(number)[:16].ljust(64, "0"), "split": split, "frames": FRAMES})  # fmt: skip
        np.savez(truth / "regions" / f"{name}.npz", regions=regions_of(number))
    (truth / "clips.json").write_text(json.dumps({"clips": told}))
    (out / "done").mkdir()
    for name in ("films", *(f"{step}-{split}" for step, split in product(("shards", "identities"), ("train", "test")))):
        (out / "done" / f"{name}.json").write_text(json.dumps({"seconds": 60.0}))
    return out


def regions_of(film: int) -> np.ndarray:
    """(FRAMES, 48, 48): four stripes; each frame's first pixel tells its number."""
    picture = np.zeros((FRAMES, 48, 48), np.uint8)
    for value in range(4):
        picture[:, :, 12 * value : 12 * (value + 1)] = value
    picture[:, 0, 0] = np.arange(FRAMES) % 5
    return picture


def write_settings(out: Path, settings: AblationSettings = SETTINGS) -> Path:
    path = out.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(plain(settings)))
    return path
