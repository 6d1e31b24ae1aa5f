from __future__ import annotations

from pathlib import Path

import pytest

from pipelines.cli import main


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("make", "OUT", "--size", "50"), "--size: expected a multiple of 8 from 64 to 512, got 50"),
        (("make", "OUT", "--fps", "often"), "--fps: expected a number"),
        (("make", "OUT", "--fps", "1/0"), "--fps: expected a number"),
        (("make", "OUT", "--workers", "0"), "--workers: expected 1 or more"),
        (("make", "OUT", "--train-people", "0", "--test-people", "0"), "nobody is left to film"),
        (("make", "s3://bucket/films"), "a folder on this machine"),
        (("cross", "OUT"), "make the films with"),
        (("cross", "OUT", "--pairs", "0"), "--pairs: expected 1 or more"),
        (("identities", "OUT", "SHARDS"), "make the films with"),
    ],
)
def test_a_mistake_ends_in_one_clear_line(
    arguments: tuple[str, ...], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = {"OUT": str(tmp_path / "films"), "SHARDS": str(tmp_path / "shards")}
    assert main(["groundtruth", *(here.get(word, word) for word in arguments)]) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert words in lines[0]
    assert not (tmp_path / "films" / "videos").exists()
