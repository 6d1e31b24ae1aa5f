"""What `vividpose weights` says and does; without a network, so the hub is made up where it has to answer."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest

from pipelines import weights_fetch, weights_sources
from pipelines.weights import CATALOGUE, by_name, find
from pipelines.weights_fetch import FetchError, fetch, how_to, list_weights
from pipelines.weights_sources import SOURCES, Source

YOLOX = "yolox_l.onnx"


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of this machine's own is found."""
    for name in ("HF_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("VIVIDPOSE_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.chdir(tmp_path)


def put(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """A made-up hub: what it holds, by file name."""
    held: dict[str, bytes] = {}

    def metadata(url: str, timeout: float) -> SimpleNamespace:
        return SimpleNamespace(etag=hashlib.sha256(held[url.rsplit("/", 1)[1]]).hexdigest())

    def download(repo: str, name: str, local_dir: Path) -> str:
        return str(put(Path(local_dir) / name, held[name]))

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", metadata)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    return held


def source_of(monkeypatch: pytest.MonkeyPatch, name: str, content: bytes) -> None:
    source = Source("page", "some/repo", len(content), hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(weights_sources.SOURCES, name, source)


def test_every_file_that_is_not_shipped_has_a_source() -> None:
    assert {weight.name for weight in CATALOGUE if weight.shipped is None} <= set(SOURCES)


def test_the_list_tells_shipped_from_missing() -> None:
    states = {row.weight.name: row.state for row in list_weights()}
    assert states["pose_detection.onnx"] == "shipped"
    assert states[YOLOX] == "can be fetched"
    assert states["SMPLX_NEUTRAL.npz"] == "by hand"


@pytest.mark.parametrize(
    "place",
    [
        "weights/yolox_l.onnx",
        "home/.cache/huggingface/hub/models--yzd-v--DWPose/snapshots/abc/yolox_l.onnx",
        "home/.cache/huggingface/hub/models--somebody--mirror/snapshots/abc/dwpose/yolox_l.onnx",
    ],
)
def test_files_that_lie_there_are_found(tmp_path: Path, place: str) -> None:
    path = put(tmp_path / place)
    assert find(by_name(YOLOX)) == path


def test_the_nested_archive_of_insightface_is_found(tmp_path: Path) -> None:
    path = put(tmp_path / "home/.insightface/models/antelopev2/antelopev2/glintr100.onnx")
    assert find(by_name("glintr100.onnx")) == path


@pytest.mark.parametrize(
    "place", ["weights", "weights/deeper", "home/.cache/huggingface/hub/models--stabilityai--{}/snapshots"]
)
def test_a_folder_is_known_by_what_is_inside(tmp_path: Path, place: str) -> None:
    name = "stable-video-diffusion-img2vid"
    folder = tmp_path / place.format(name) / ("abc" if "{}" in place else name)
    folder.mkdir(parents=True)
    assert find(by_name(name)) is None
    put(folder / "unet" / "config.json")
    assert find(by_name(name)) == folder


def test_a_folder_is_fetched_by_hand() -> None:
    with pytest.raises(FetchError, match="how-to stable-video-diffusion-img2vid"):
        fetch("stable-video-diffusion-img2vid", accept_licence=True)


def test_a_file_of_another_size_is_noted(tmp_path: Path) -> None:
    put(tmp_path / "weights" / YOLOX)
    row = next(row for row in list_weights() if row.weight.name == YOLOX)
    assert row.state == "found"
    assert "1 bytes" in row.note


@pytest.mark.parametrize("weight", CATALOGUE, ids=lambda weight: weight.name)
def test_every_file_has_steps(weight: object) -> None:
    text = how_to(weight.name)  # type: ignore[attr-defined]
    assert weight.licence in text  # type: ignore[attr-defined]
    assert "{" not in text


def test_a_registration_is_told_step_by_step() -> None:
    text = how_to("SMPLX_NEUTRAL.npz")
    assert "1. Register at https://smpl-x.is.tue.mpg.de" in text
    assert "NO commercial use" in text
    with pytest.raises(FetchError, match="how-to SMPLX_NEUTRAL"):
        fetch("SMPLX_NEUTRAL.npz")


def test_fetch_checks_the_checksum(tmp_path: Path, hub: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    source_of(monkeypatch, YOLOX, b"good")
    hub[YOLOX] = b"good"
    told: list[str] = []
    path = fetch(YOLOX, tell=told.append)
    assert path == tmp_path / "weights" / YOLOX
    assert "checksum right" in told[-1]
    hub.clear()
    assert fetch(YOLOX, tell=told.append) == path  # already here: the hub is not asked


def test_a_wrong_download_is_removed(tmp_path: Path, hub: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    source_of(monkeypatch, YOLOX, b"good")
    hub[YOLOX] = b"evil"
    with pytest.raises(FetchError, match="sha256"):
        fetch(YOLOX)
    assert not (tmp_path / "weights" / YOLOX).exists()


def test_a_wrong_file_that_is_there_is_named(tmp_path: Path) -> None:
    path = put(tmp_path / "weights" / YOLOX)
    with pytest.raises(FetchError, match="move it away") as caught:
        fetch(YOLOX)
    assert str(path) in str(caught.value)


def test_a_licence_has_to_be_accepted(hub: dict[str, bytes]) -> None:
    hub["smpler_x_h32.pth.tar"] = b"checkpoint"
    with pytest.raises(FetchError, match="accept-licence"):
        fetch("smpler_x_h32.pth.tar")
    assert fetch("smpler_x_h32.pth.tar", accept_licence=True, tell=lambda line: None).read_bytes() == b"checkpoint"


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(FetchError, match=r"yolox_l\.onnx"):
        fetch("yolo.onnx")


def test_no_network_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """For real: the hub's address leads nowhere."""
    monkeypatch.setattr(weights_fetch, "HUB", "http://127.0.0.1:9")
    with pytest.raises(FetchError, match="check the connection") as caught:
        fetch(YOLOX, tell=lambda line: None)
    assert "\n" not in str(caught.value)


def test_offline_mode_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise huggingface_hub.errors.OfflineModeIsEnabled("offline mode is enabled\nsee the documentation")

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", offline)
    with pytest.raises(FetchError, match="offline mode") as caught:
        fetch(YOLOX, tell=lambda line: None)
    assert "\n" not in str(caught.value)
