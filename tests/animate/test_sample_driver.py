"""A sample of a dataset as a driver: its poses are taken as they are, its frames are shown."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from pipelines.animate.jobs import BadJob, parse_job
from pipelines.animate.pose_file import POSES_FILE, read_poses, take_sample
from pipelines.animate.sources import driving_of
from pipelines.body.model import load_body
from pipelines.engine.ledger import Ledger
from pipelines.shard_format import Face, encode_body, encode_face, encode_keypoints, write_tar
from pipelines.video.encode import ClipWriter
from pipelines.video.reader import ClipReader
from tests.animate.conftest import Animate
from tests.body.body_motions import SIZE, dance, observed
from tests.stages.drawn_person import drawn_person

KEY = "00112233aabbccdd_0"
FRAMES, FPS = 12, 10


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two samples; the second is the one that is asked for."""
    folder = tmp_path_factory.mktemp("shard")
    body = load_body()
    sequence = dance(body, FRAMES, np.zeros(10, np.float32))
    with ClipWriter(folder / "clip.mp4", SIZE, Fraction(FPS)) as writer:
        for arm in np.linspace(0.3, 1.6, FRAMES):
            writer.write(drawn_person(*SIZE, arm=float(arm)))
    nobody = np.zeros(FRAMES, bool)
    face = Face(np.zeros((FRAMES, 512), np.float16), nobody, np.zeros(FRAMES, np.float32), "none", "", False)
    members = {
        "face.npz": encode_face(face),
        "render.mp4": folder / "clip.mp4",  # not looked at
        "json": json.dumps({"schema": 1, "frames": FRAMES, "fps": [FPS, 1]}).encode(),
        "pose.npz": encode_keypoints(observed(body, sequence)),
        "smplx.npz": encode_body(sequence),
        "video.mp4": folder / "clip.mp4",
    }
    path = folder / "vividpose-000000.tar"
    write_tar(path, [("00112233aabbccdc_0", members), (KEY, members)])
    return path


def take(shard: Path, folder: Path, key: str = KEY, start: float = 0.0, fps: float | None = None):
    folder.mkdir(exist_ok=True)
    return take_sample(str(shard), folder, key, start, None, fps, 64)


def test_a_span_of_a_sample_has_its_poses_and_its_frames(shard: Path, tmp_path: Path):
    outcome = take(shard, tmp_path, start=0.2, fps=5)
    assert (outcome.status, outcome.info["frames"], outcome.info["fps"]) == ("done", 5, [5, 1])
    keypoints, body, fps = read_poses(tmp_path / POSES_FILE)
    whole = dance(load_body(), FRAMES, np.zeros(10, np.float32))
    np.testing.assert_array_equal(body.body_pose, whole.body_pose[2::2])
    assert (len(keypoints), fps) == (5, 5)
    with ClipReader(tmp_path / "clip.mp4") as taken:
        assert (len(taken), taken.size) == (5, SIZE)
        shown = taken.frames([4])[0].astype(int)
    assert np.abs(shown - drawn_person(*SIZE, arm=float(np.linspace(0.3, 1.6, FRAMES)[10])).astype(int)).mean() < 3


@pytest.mark.parametrize(
    ("damage", "key", "start", "reason"),
    [
        (lambda data: data, "nobody_0", 0.0, "no_such_sample"),
        (lambda data: data, "", 0.0, "no_such_sample"),
        (lambda data: data, KEY, 60.0, "empty_span"),
        (lambda data: data[: len(data) // 2], KEY, 0.0, "bad_sample"),
        (lambda data: b"", KEY, 0.0, "bad_sample"),
        (lambda data: b"no tar at all" * 99, KEY, 0.0, "bad_sample"),
        (lambda data: data.replace(b'"schema": 1', b'"schema": 9'), KEY, 0.0, "bad_sample"),
        (lambda data: data.replace(b'"fps": [10, 1]', b'"fps": [10, 0]'), KEY, 0.0, "bad_sample"),
        (lambda data: data.replace(b'"frames": 12', b'"franes": 12'), KEY, 0.0, "bad_sample"),
        (lambda data: data.replace(b'"frames": 12', b'"frames": 11'), KEY, 0.0, "bad_sample"),
        (lambda data: data.replace(b"moov", b"nope"), KEY, 0.0, "bad_sample"),
    ],
)
def test_what_is_no_use_ends_with_a_reason(shard: Path, tmp_path: Path, damage, key: str, start: float, reason: str):
    broken = tmp_path / "broken.tar"
    broken.write_bytes(damage(shard.read_bytes()))
    outcome = take(broken, tmp_path / "out", key, start)
    assert (outcome.status, outcome.reason) == ("quarantined", reason)
    assert "\n" not in (outcome.message or "")


def test_a_person_cannot_be_chosen_of_a_sample(shard: Path):
    spec = parse_job({"reference": "a.png", "driving": f"{shard}#{KEY}", "person": 1}, "job")
    with pytest.raises(BadJob, match="poses of one person already"):
        driving_of(spec, Path("/"), None, lambda path: "0")


@pytest.mark.slow
def test_a_sample_drives_a_job_and_is_shown_beside_it(shard: Path, animate: Animate, tmp_path: Path):
    summary = animate(tmp_path, {"name": "a", "driving": f"{shard}#{KEY}", "compare": True, "poses": True})
    assert [(ending.status, ending.message) for ending in summary.endings] == [("done", None)]
    assert len(list(Ledger(tmp_path / "work").records("keypoints"))) == 1  # the reference's: the sample has its own
    with ClipReader(tmp_path / "a.mp4") as video, ClipReader(tmp_path / "a.compare.mp4") as compared:
        assert (len(video), video.fps, len(compared)) == (FRAMES, FPS, FRAMES)
        driver = compared.frames([0])[0][:, video.size[0] : 2 * video.size[0]]
    assert driver.std() > 20, "the sample's frames are shown"
