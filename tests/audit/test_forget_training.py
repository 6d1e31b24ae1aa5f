"""Training after a withdrawal: the run refuses the changed data with the reason, and goes on without the person when
told to."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from pipelines.audit.planted import Recipe, Truth, plant
from pipelines.audit.split import PARTS
from pipelines.cli import main
from tests.train.conftest import small_parts  # noqa: F401
from tests.train.runs import Run, Small, losses

pytestmark = pytest.mark.slow

RECIPE = Recipe(clips=9, people=3, frames=14, exact=0, near=0, leaks=0, cuts=0, frozen=0, crowds=0, unknown=0,
                corrupt=0, swapped=0, shard=3, counted=99, maps=True)  # fmt: skip
# One shard without the person, whose latents stay.
GOING = 0


@pytest.fixture
def planted(tmp_path: Path) -> tuple[Path, Truth]:
    """An audited dataset of three people with three clips each, all of which may be trained on."""
    out = tmp_path / "data"
    truth = plant(out, RECIPE, seed=1)
    (out / "audit" / PARTS).unlink()
    assert main(["audit", str(out), "--no-page"]) == 0
    return out, truth


@pytest.fixture
def small(planted: tuple[Path, Truth], small_parts: tuple[Path, Path], tmp_path: Path) -> Small:  # noqa: F811
    return Small(tmp_path, planted[0], small_parts[1])


def encode_latents(small: Small) -> None:
    how = ("--size", "32x48", "--executor", "inline", "--device", "cpu")
    assert main(["latents", str(small.data), "--model", str(small.encoders), *how]) == 0


def go(small: Small, steps: int, *more: str) -> Run:
    """The command of the run, up to a step."""
    run = small.start("run", "--set", f"steps={steps}", "-v", *more)
    run.wait()
    return run


def streamed(small: Small) -> set[str]:
    """Keys of all clips in the order of the run's stream."""
    from train.settings import load_settings
    from train.stream.dataset import open_dataset

    overrides = [part for part in small.settings(small.folder / "run") if part != "--set"]
    dataset = open_dataset(str(small.data), load_settings("tiny", overrides).data)
    places = [(shard, ordinal) for shard, count in enumerate(dataset.counts) for ordinal in range(count)]
    return {index.keys[number] for index, number in (dataset.find(*place) for place in places)}


def test_a_run_refuses_the_withdrawn_data_and_goes_on_without_the_person_when_told(
    small: Small, planted: tuple[Path, Truth], capsys: pytest.CaptureFixture[str]
):
    data, truth = planted
    person = {key for key, who in truth.person.items() if who == GOING}
    encode_latents(small)
    assert person < streamed(small)
    begun = go(small, 2)
    assert sorted(losses(begun.out)) == [1, 2], begun.told
    assert "cached latents are used" in begun.told

    touched = _shards_of(data, person)
    assert main(["forget", str(data), "--identity", min(person), "--reason", "ticket 1"]) == 0, capsys.readouterr()
    for shard in touched:
        assert not list((data / "latents").glob(f"*/{shard.removesuffix('.tar')}*"))

    refused = go(small, 4)
    assert refused.processes[0].exitcode == 1
    assert sorted(losses(begun.out)) == [1, 2]
    assert "the data, the decisions on it" in refused.told
    assert "--accept-dataset-change" in refused.told
    assert "Traceback" not in refused.told

    accepted = go(small, 4, "--accept-dataset-change")
    assert sorted(losses(accepted.out)) == [1, 2, 3, 4], accepted.told
    assert "the dataset changed, as accepted" in accepted.told
    assert "have no latents" in accepted.told
    assert streamed(small) == set(truth.person) - person

    encode_latents(small)
    again = go(small, 6)
    assert sorted(losses(again.out)) == [1, 2, 3, 4, 5, 6], again.told
    assert "cached latents are used" in again.told


def _shards_of(data: Path, keys: set[str]) -> list[str]:
    query = "select distinct shard from read_parquet(?) where list_contains(?, key)"
    return [row[0] for row in duckdb.execute(query, [str(data / "manifest.parquet"), sorted(keys)]).fetchall()]
