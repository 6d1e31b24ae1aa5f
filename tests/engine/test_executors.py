"""Sharing a machine among pools, and what becomes of rows whose work goes wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.engine.atomic import DiskFull
from pipelines.engine.executors import MESSAGE, STOP, Infeasible, Pool, Row, in_turn, run_inline, share_out
from pipelines.engine.setup_error import SetupError


def nothing() -> None:
    raise AssertionError("sharing out builds no worker")


pools = st.lists(
    st.builds(
        Pool,
        name=st.uuids().map(str),
        make=st.just(nothing),
        workers=st.integers(0, 3),
        cpus=st.sampled_from([0.5, 1.0, 2.0]),
        gpus=st.sampled_from([0.0, 0.25, 1.0]),
    ),
    min_size=1,
    max_size=4,
)


@given(pools=pools, cpus=st.integers(1, 16), gpus=st.integers(0, 2))
def test_what_is_shared_out_always_fits_at_the_same_time(pools: list[Pool], cpus: int, gpus: int):
    try:
        placed = share_out(pools, cpus, gpus)
    except Infeasible:
        return
    assert all(pool.workers >= 1 for pool in placed)
    assert sum(pool.workers * pool.cpus for pool in placed) <= cpus + 1e-6
    assert sum(pool.workers * pool.gpus for pool in placed) <= gpus + 1e-6


def test_three_pools_fit_on_one_core():
    placed = share_out([Pool(name, nothing) for name in "abc"], cpus=1, gpus=0)
    assert [pool.workers for pool in placed] == [1, 1, 1]


def test_cores_left_over_go_to_the_pools_in_turn():
    placed = share_out([Pool("a", nothing), Pool("b", nothing)], cpus=5, gpus=0)
    assert sorted(pool.workers for pool in placed) == [2, 3]


def test_a_demand_that_never_fits_is_refused_with_what_to_change():
    with pytest.raises(Infeasible, match=r"3 x \(2 CPU, 0 GPU\).*Lower `workers`"):
        share_out([Pool("a", nothing, workers=3, cpus=2)], cpus=4, gpus=0)


def test_a_missing_gpu_is_refused():
    with pytest.raises(Infeasible, match="1 GPU"):
        share_out([Pool("a", nothing, gpus=1)], cpus=4, gpus=0)


class Step:
    def __init__(self, name: str, error: Exception | None = None) -> None:
        self.name = name
        self.error = error

    def __call__(self, row: Row) -> Row:
        if self.error is not None and row["id"] == 1:
            raise self.error
        return {**row, self.name: True}


def run(error: Exception | None) -> list[Row]:
    steps = [Pool("first", lambda: Step("first", error)), Pool("second", lambda: Step("second"))]
    return list(run_inline([{"id": 0}, {"id": 1}, {"id": 2}], steps))


def test_rows_pass_through_all_pools_in_order():
    assert run(None) == [{"id": i, "first": True, "second": True} for i in range(3)]


class Preparing:
    """Notes the order in which it is told of rows."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def prepare(self, row: Row) -> None:
        self.told.append(f"prepare {row['id']}")

    def __call__(self, row: Row) -> Row:
        self.told.append(f"work {row['id']}")
        return row


def test_a_worker_prepares_the_next_row_before_it_works_on_the_current_one():
    worker = Preparing()
    list(in_turn(worker, [{"id": 0}, {"id": 1}, {"id": 2, STOP: "dropped"}]))
    assert worker.told == ["prepare 1", "work 0", "work 1"]


def test_an_unexpected_error_ends_its_row_alone():
    rows = run(ZeroDivisionError("by zero"))
    assert [row.get(STOP) for row in rows] == [None, "failed", None]
    assert "ZeroDivisionError: by zero" in rows[1][MESSAGE]
    assert "second" not in rows[1]


def test_a_wrong_set_up_is_told_apart_from_an_error():
    row = run(SetupError("the file is damaged"))[1]
    assert (row[STOP], row[MESSAGE]) == ("setup", "the file is damaged")


def test_a_full_disk_is_told_apart_from_an_error():
    assert run(DiskFull("/data/x"))[1][STOP] == "disk_full"
