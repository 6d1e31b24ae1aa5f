"""The options of `vividpose audit`, and what its commands refuse."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from pipelines.audit.planted import Recipe, plant
from pipelines.audit.schema import audit_folder
from pipelines.cli import main

RECIPE = Recipe(clips=4, people=2, frames=6, exact=0, near=0, leaks=0, cuts=0, frozen=0, crowds=0, unknown=0,
                corrupt=0, swapped=0, shard=4, counted=99)  # fmt: skip


@pytest.fixture
def out(tmp_path: Path) -> Path:
    plant(tmp_path / "out", RECIPE, seed=4)
    return tmp_path / "out"


def sheets(out: Path) -> dict[str, str]:
    """sha256 of the pictures of the previews."""
    return {path.stem: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in (audit_folder(out) / "previews").glob("*.webp")}  # fmt: skip


def test_previews_are_as_many_as_one_asks_for_and_show_faces_only_then(out: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["audit", str(out), "--previews", "2"]) == 0
    blurred = sheets(out)
    assert len(blurred) == 2
    assert main(["audit", str(out), "--previews", "2", "--show-faces"]) == 0
    assert "show faces" in capsys.readouterr().err
    shown = sheets(out)
    assert shown.keys() == blurred.keys()
    assert all(shown[key] != blurred[key] for key in shown)
    assert main(["audit", str(out), "--previews", "1"]) == 0
    [(key, picture)] = sheets(out).items()
    assert picture == blurred[key]
    assert main(["audit", str(out), "--previews", "0"]) == 0
    assert sheets(out) == {}
    assert key not in {path.stem for path in (audit_folder(out) / "previews").glob("*.mp4")}


def test_the_port_is_the_one_that_was_asked_for(out: Path, monkeypatch: pytest.MonkeyPatch):
    asked: list[Any] = []
    monkeypatch.setattr("pipelines.audit.serve.serve", lambda *given: asked.append(given))
    assert main(["audit", str(out), "--previews", "0", "--serve", "--port", "9123"]) == 0
    assert main(["audit", str(out), "--previews", "0", "--serve"]) == 0
    assert asked == [(out, 9123), (out, 8765)]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--port", "9123"), "give --serve"),
        (("--no-page", "--previews", "3"), "makes no previews"),
        (("--no-page", "--show-faces"), "makes no previews"),
    ],
)
def test_options_that_contradict_each_other_are_one_line(
    tmp_path: Path, arguments: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
):
    assert main(["audit", str(tmp_path), *arguments]) == 1
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [("--serve", "--port", "70000"), ("--serve", "--port", "-1"), ("--previews", "-1"), ("--previews", "²")],
)
def test_a_number_that_is_none_is_refused(
    tmp_path: Path, arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(SystemExit):
        main(["audit", str(tmp_path), *arguments])
    assert f"argument {arguments[-2]}: expected a" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        ("audit", "s3://bucket/data"),
        ("audit", "diff", "s3://bucket/a", "s3://bucket/b"),
        ("split", "s3://bucket/data"),
        ("split", "s3://bucket/data", "--given", "parts.csv"),
        ("forget", "s3://bucket/data", "--source", "a.mp4", "--reason", "ticket"),
        ("forget", "s3://bucket/data", "--drop-embeddings"),
    ],
)
def test_a_bucket_is_refused_in_one_line(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    assert main([*command]) == 1
    assert "mount or copy" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
