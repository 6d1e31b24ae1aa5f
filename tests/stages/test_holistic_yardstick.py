"""Our key points against MediaPipe Holistic's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stages.holistic_yardstick import NAMES, Agreement, measure


def check(result: dict[str, Agreement]) -> None:
    for part, value in result.items():
        print(f"{part:10s} {value}")
    assert result["body"].median <= 1.5
    assert result["body"].frames_within_5 >= 0.95
    for part in ("face", "left hand", "right hand"):
        if result[part].both:
            assert result[part].median <= 2.0
        assert result[part].both >= 0.75 * result[part].reference


def test_a_second_of_a_fashion_video(shared_root: Path) -> None:
    result, _ = measure(shared_root, "dreampose_demo", stop=21)
    assert result["right hand"].both > 0
    check(result)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_whole_video(shared_root: Path, name: str) -> None:
    result, _ = measure(shared_root, name)
    check(result)
