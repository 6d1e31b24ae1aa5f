"""An evaluation from folders to numbers: against references that start from the pictures, over workers, and absent."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest
import scipy.linalg
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from pipelines.evaluate import extract
from pipelines.evaluate.aggregate import Resampling, Set
from pipelines.evaluate.availability import Available
from pipelines.evaluate.measure import Measurer
from pipelines.evaluate.nets.resnet3d import MEAN
from pipelines.evaluate.numbers import Number
from pipelines.evaluate.pairs import match
from pipelines.evaluate.protocols import I3D, I3D_SCRIPT, INCEPTION, MEASURES, RESNET3D, chosen
from pipelines.evaluate.run import Evaluation, Request, evaluate
from pipelines.evaluate.store import write_measured
from tests.evaluate.test_networks import Stub
from tests.evaluate.videos import write_set

LENGTHS = {"a": 20, "b": 18, "c2": 17, "c10": 16, "short": 9}
METRICS = ("fid", "kid", "fid_vid", "fvd")
WIDTH = 12


class Net(nn.Module):
    """Stands for a network of the right kind, small: random weights, pictures or clips to 12 numbers."""

    def __init__(self, seed: int, clips: bool) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.mixing = torch.randn(3 * 16 * (16 if clips else 1), WIDTH) / 10
        self.clips = clips

    def forward(self, x: Tensor) -> Tensor:
        if self.clips:
            pooled = nn.functional.adaptive_avg_pool3d(x, (16, 4, 4))
        else:
            pooled = nn.functional.adaptive_avg_pool2d(x, (4, 4))
        return pooled.flatten(1) @ self.mixing


NETS = {"inception": Net(0, False), "resnet3d": Net(1, True), "i3d": Net(2, True)}


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Files that are found, and small networks behind them."""
    for name in (INCEPTION, I3D, RESNET3D):
        (tmp_path / "weights").mkdir(exist_ok=True)
        (tmp_path / "weights" / name).write_bytes(name.encode())
    monkeypatch.setenv("VIVIDPOSE_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setattr(extract, "load_inception", lambda path: NETS["inception"])
    monkeypatch.setattr(extract, "load_resnet3d", lambda path: NETS["resnet3d"])
    monkeypatch.setattr(extract, "load_i3d", lambda path, epsilon: NETS["i3d"])
    return tmp_path


def pictures(folder: Path) -> NDArray[np.float32]:
    files = sorted(folder.iterdir(), key=lambda path: int(path.stem))
    return np.stack([np.asarray(Image.open(path)) for path in files]).astype(np.float32)


def bicubic(frames: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    def one(channel: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(Image.fromarray(channel).resize((side, side), Image.Resampling.BICUBIC))

    return np.stack([np.stack([one(frame[..., c]) for c in range(3)], -1) for frame in frames])


def reference_features(metric: str, protocol: str, root: Path) -> NDArray[np.float64]:
    """Features as the protocol's own project takes them, with loops over the pictures."""
    found = []
    for name in LENGTHS:
        frames = pictures(root / name)
        if metric in ("fid", "kid"):
            if protocol == "disco":
                x = torch.from_numpy(frames).permute(0, 3, 1, 2) / 255
                x = nn.functional.interpolate(x, (299, 299), mode="bilinear", align_corners=False) * 2 - 1
            else:
                x = torch.from_numpy(bicubic(frames, 299)).permute(0, 3, 1, 2) / 255 * 2 - 1
            found.append(NETS["inception"](x))
            continue
        side = 112 if metric == "fid_vid" else 224
        small = bicubic(frames, side)
        for start in range(0, len(frames) - 16 + (protocol == "corrected")):
            clip = torch.from_numpy(small[start : start + 16])
            clip = clip - torch.tensor(MEAN) if metric == "fid_vid" else clip / 127.5 - 1
            found.append(NETS["resnet3d" if metric == "fid_vid" else "i3d"](clip.permute(3, 0, 1, 2)[None]))
    return torch.cat(found).double().numpy()


def reference_distance(metric: str, a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    if metric == "kid":
        n, m = len(a), len(b)
        kaa, kbb, kab = ((x @ y.T / WIDTH + 1) ** 3 for x, y in ((a, a), (b, b), (a, b)))
        within = (kaa.sum() - np.trace(kaa)) / (n * (n - 1)) + (kbb.sum() - np.trace(kbb)) / (m * (m - 1))
        return float(within - 2 * kab.mean())
    s1, s2 = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    step = a.mean(0) - b.mean(0)
    return float(step @ step + np.trace(s1 + s2) - 2 * np.trace(np.real(scipy.linalg.sqrtm(s1 @ s2))))


def numbers_of(done: Evaluation) -> dict[str, Number]:
    return {number.key: number for number in done.numbers}


@pytest.fixture
def done(stand_ins: Path) -> Evaluation:
    ours, theirs = write_set(stand_ins, LENGTHS)
    request = Request(ours, theirs, stand_ins / "out", metrics=METRICS, resampling=Resampling(100, 4))
    return evaluate(request)


def test_every_statistic_is_the_references(done: Evaluation) -> None:
    for key, number in numbers_of(done).items():
        metric, protocol = key.split(".")
        a, b = (reference_features(metric, protocol, root) for root in (done.request.generated, done.request.truth))
        assert number.value == pytest.approx(reference_distance(metric, a, b), rel=1e-4), key


def test_numbers_say_what_they_are(done: Evaluation) -> None:
    numbers = numbers_of(done)
    fvd, disco = numbers["fvd.corrected"], numbers["fvd.disco"]
    assert (fvd.videos, fvd.frames, fvd.clips) == (4, 71, 5 + 3 + 2 + 1)
    assert (disco.videos, disco.clips) == (3, 4 + 2 + 1)
    assert any("left out: short" in note for note in fvd.notes)
    assert fvd.resize == "PIL bicubic, float, antialiased to 224 x 224"
    assert numbers["fid.disco"].resize.startswith("torch bilinear")
    assert fvd.size == (48, 40)
    assert list(fvd.weights) == [I3D]
    assert len(fvd.weights[I3D]) == 64
    assert fvd.low is not None
    assert fvd.low < float(fvd.value or 0) < float(fvd.high or 0)
    assert json.loads((done.request.out / "results.json").read_text())["numbers"][0]["weights"]


def test_two_workers_give_the_numbers_of_one(stand_ins: Path, tmp_path: Path) -> None:
    ours, theirs = write_set(stand_ins, LENGTHS)
    measures = chosen(("corrected",), ("fid", "kid", "fid_vid"))
    weights = stand_ins / "weights"
    available = Available({n: weights / n for n in (INCEPTION, I3D, RESNET3D)}, None, ("none", ()), ("none", ()), None)
    pairs = match(ours, theirs).pairs
    workers = [Measurer(measures, available, "cpu") for _ in range(2)]
    found = {}
    for order in ((0, 0, 0, 0, 0), (0, 1, 1, 0, 1)):
        files = []
        for index, pair in enumerate(pairs):
            files.append(tmp_path / f"{order[1]}-{index}.npz")
            write_measured(files[-1], workers[order[index]](pair))
        held = Set(files, None, available)
        found[order] = [held.number(measure, Resampling(0, 0)).value for measure in measures]
    one, two = found.values()
    assert one == two


def test_without_a_file_a_metric_is_absent_with_the_reason_and_the_rest_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("VIVIDPOSE_WEIGHTS", str(tmp_path / "none"))
    monkeypatch.chdir(tmp_path)
    ours, theirs = write_set(tmp_path, {"a": 3, "b": 3})
    wanted = ("l1", "lpips", "fid", "fid_vid", "fvd", "kid", "fvd_stylegan_v")
    numbers = evaluate(Request(ours, theirs, tmp_path / "out", metrics=wanted)).numbers
    for number in numbers:
        if number.metric == "l1":
            assert number.value is not None
        else:
            assert number.value is None
            assert "was not found: vividpose weights how-to" in str(number.reason)


def test_without_optional_packages_their_metrics_are_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("skimage", "torchmetrics"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "pipelines.evaluate.metrics.ssim", raising=False)
    ours, theirs = write_set(tmp_path, {"a": 3})
    numbers = numbers_of(evaluate(Request(ours, theirs, tmp_path / "out", metrics=("l1", "ssim"))))
    assert numbers["l1.corrected"].value is not None
    assert "pip install 'vividpose[evaluate]'" in str(numbers["ssim.corrected"].reason)


def test_videos_shorter_than_a_clip_leave_fvd_absent_with_the_reason(stand_ins: Path) -> None:
    ours, theirs = write_set(stand_ins, {"a": 9, "b": 12})
    numbers = numbers_of(evaluate(Request(ours, theirs, stand_ins / "out", metrics=("fvd",))))
    assert numbers["fvd.corrected"].value is None
    assert "the longest video has 12 frames" in str(numbers["fvd.corrected"].reason)


def test_a_damaged_network_is_told_and_makes_no_number(stand_ins: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = write_set(stand_ins, {"a": 3, "b": 3})
    broken = type("Broken", (), {"to": lambda self, d: lambda x: torch.full((len(x), WIDTH), torch.nan)})()
    monkeypatch.setattr(extract, "load_inception", lambda path: broken)
    with pytest.raises(RuntimeError, match="features that are not finite"):
        evaluate(Request(ours, theirs, stand_ins / "out", metrics=("fid",)))


def test_the_values_of_frames_are_pooled_over_videos(tmp_path: Path) -> None:
    ours, theirs = write_set(tmp_path, {"a": 3, "b": 6})
    done = evaluate(Request(ours, theirs, tmp_path / "out", metrics=("l1",)))
    all_frames = [np.abs(pictures(ours / n) - pictures(theirs / n)).mean((1, 2, 3)) / 255 for n in ("a", "b")]
    assert numbers_of(done)["l1.corrected"].value == pytest.approx(np.concatenate(all_frames).mean(), rel=1e-6)


def test_frames_copied_from_the_truth_are_told_beside_the_psnr(tmp_path: Path) -> None:
    ours, theirs = write_set(tmp_path, {"a": 4})
    shutil.copy(theirs / "a" / "0.png", ours / "a" / "0.png")
    number = numbers_of(evaluate(Request(ours, theirs, tmp_path / "out", metrics=("psnr",))))["psnr.corrected"]
    assert number.notes == ("1 of 4 frames equal the truth and count 100 dB each",)


def test_stylegan_vs_file_needs_the_users_word_and_has_a_name_of_its_own(tmp_path: Path, stand_ins: Path) -> None:
    torch.jit.script(Stub()).save(stand_ins / "weights" / I3D_SCRIPT)
    ours, theirs = write_set(tmp_path / "set", {"a": 17, "b": 18})
    request = Request(ours, theirs, tmp_path / "out", metrics=("fvd_stylegan_v",), protocols=("corrected",))
    [refused] = evaluate(request).numbers
    assert refused.value is None
    assert "runs a program" in str(refused.reason)
    [number] = evaluate(replace(request, allow_torchscript=True)).numbers
    assert (number.metric, number.clips) == ("fvd_stylegan_v", 5)
    assert number.value is not None


def test_no_two_measures_share_a_key() -> None:
    keys = [measure.key for measure in MEASURES]
    assert len(keys) == len(set(keys))


@pytest.mark.slow
def test_ray_gives_the_numbers_of_one_process(tmp_path: Path) -> None:
    ours, theirs = write_set(tmp_path, {"a": 4, "b": 5, "c": 6})
    found = {}
    for executor in ("inline", "ray"):
        out = tmp_path / executor
        done = evaluate(Request(ours, theirs, out, metrics=("l1", "psnr", "flicker"), executor=executor))
        found[executor] = [(n.key, n.value, n.low, n.high) for n in done.numbers]
    assert found["inline"] == found["ray"]


@pytest.mark.slow
def test_poses_of_the_truth_itself_have_no_error(shared_media: Path, tmp_path: Path) -> None:
    for side in ("generated", "truth"):
        (tmp_path / side).mkdir()


    with av.open(str(shared_media / "musepose_dance.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24")[::2, ::2] for frame in islice(container.decode(video=0), 6)]
    np.save(tmp_path / "truth" / "a.npy", np.stack(frames))
    shutil.copy(tmp_path / "truth" / "a.npy", tmp_path / "generated" / "a.npy")
    done = evaluate(Request(tmp_path / "generated", tmp_path / "truth", tmp_path / "out",
                            metrics=("pose_error", "pose_missed")))  # fmt: skip
    numbers = numbers_of(done)
    assert numbers["pose_error.corrected"].value == 0
    assert numbers["pose_missed.corrected"].value == 0
    assert numbers["pose_error.corrected"].estimators
