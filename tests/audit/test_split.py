"""A split keeps together what belongs together, and is the same for the same seed."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.audit.schema import CLIPS, audit_folder
from pipelines.audit.split import PARTS, make_split, read_parts_argument, take_given_split
from pipelines.audit.synthetic import write_clips
from pipelines.settings import BadSettings


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generated")
    audit_folder(folder).mkdir()
    write_clips(audit_folder(folder) / CLIPS, 3000, seed=4)
    return folder


def across(out: Path, column: str) -> int:
    """Values of a column that are in more than one part."""
    answer = duckdb.execute(
        f"select count(*) from (select c.{column} from read_parquet(?) c join read_parquet(?) s using (key) "
        f"where c.{column} is not null group by 1 having count(distinct s.split) > 1)",
        [str(audit_folder(out) / CLIPS), str(audit_folder(out) / PARTS)],
    ).fetchone()
    assert answer is not None
    return answer[0]


@pytest.mark.parametrize("column", ["identity", "source_sha256", "near_group", "exact_group"])
def test_nothing_that_belongs_together_is_in_two_parts(out: Path, column: str):
    make_split(out, {"train": 0.8, "validation": 0.1, "test": 0.1}, seed=1)
    assert across(out, column) == 0


def test_uploaders_stay_together_when_asked(out: Path):
    make_split(out, {"train": 0.9, "test": 0.1}, seed=1, ties=("uploader",))
    assert across(out, "uploader") == 0


def test_the_shares_come_near_where_components_are_small(out: Path):
    split = make_split(out, {"train": 0.7, "test": 0.3}, seed=2, ties=("source",))
    assert [row["found"] for row in split.rows] == pytest.approx([0.7, 0.3], abs=0.005)


def test_the_same_seed_gives_the_same_bytes(out: Path):
    path = audit_folder(out) / PARTS
    make_split(out, {"train": 0.9, "test": 0.1}, seed=3)
    first = path.read_bytes()
    make_split(out, {"train": 0.9, "test": 0.1}, seed=3)
    assert path.read_bytes() == first


def test_every_kept_clip_has_a_part(out: Path):
    split = make_split(out, {"train": 0.9, "test": 0.1}, seed=0)
    kept = duckdb.execute(
        "select count(*) from read_parquet(?) where state = 'kept'", [str(audit_folder(out) / CLIPS)]
    ).fetchone()
    assert kept is not None
    assert sum(row["clips"] for row in split.rows) == kept[0]


def test_before_an_audit_there_is_no_split(tmp_path: Path):
    with pytest.raises(BadSettings, match="run `vividpose audit"):
        make_split(tmp_path, {"train": 1.0}, 0)


@pytest.mark.parametrize(
    "text", ["train=0.9", "train=0.9,test=0.2", "train=1,test", "a=0.5,a=0.5", "=1", "a=nan", "a b=1"]
)
def test_wrong_parts_are_refused(text: str):
    with pytest.raises(BadSettings, match="--parts"):
        read_parts_argument(text)


@given(st.lists(st.integers(1, 99), min_size=1, max_size=6))
def test_parts_that_sum_to_one_are_taken(weights: list[int]):
    shares = np.array(weights) / sum(weights)
    text = ",".join(f"p{n}={share!r}" for n, share in enumerate(shares.tolist()))
    assert list(read_parts_argument(text).values()) == pytest.approx(shares.tolist())


def test_a_given_split_is_taken_as_it_is(out: Path, tmp_path: Path):
    given_file = tmp_path / "official.csv"
    given_file.write_text("key,split\na,train\nb,test\n")
    assert take_given_split(out, given_file) == 2
    rows = duckdb.execute("select * from read_parquet(?) order by key", [str(audit_folder(out) / PARTS)]).fetchall()
    assert rows == [("a", "train"), ("b", "test")]


def test_a_given_split_without_its_columns_is_refused(out: Path, tmp_path: Path):
    given_file = tmp_path / "official.csv"
    given_file.write_text("clip;part\n")
    with pytest.raises(BadSettings, match="key and split"):
        take_given_split(out, given_file)
