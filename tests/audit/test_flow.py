"""The ledger as a flow: nothing gets lost, whatever the manifest holds."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from pipelines.audit.flow import KEPT, START, flow_invariants, write_flow
from pipelines.audit.schema import CLIPS, audit_folder
from pipelines.audit.synthetic import write_clips, write_tables


@pytest.fixture(scope="module")
def links(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    folder = tmp_path_factory.mktemp("flow")
    write_clips(folder / CLIPS, 1000, seed=1)
    return write_flow(duckdb.connect(), folder / CLIPS, folder / "flow.parquet")


def test_each_node_passes_on_what_it_got(links: list[dict]):
    nodes = {link["from"] for link in links} - {START}
    for node in nodes:
        got = sum(link["rows"] for link in links if link["to"] == node)
        assert got == sum(link["rows"] for link in links if link["from"] == node)


def test_all_rows_leave_the_sources(links: list[dict]):
    assert sum(link["rows"] for link in links if link["from"] == START) == 1000


def test_a_lost_row_is_an_invariant_that_does_not_hold(links: list[dict]):
    seconds = sum(link["seconds"] for link in links if not link["to"].startswith("after "))
    kept = sum(link["rows"] for link in links if link["to"] == KEPT)
    assert all(each.holds for each in flow_invariants(links, 1000, seconds, kept))
    assert [each.holds for each in flow_invariants(links, 1001, seconds, kept)] == [False, True, True]
    assert [each.holds for each in flow_invariants(links, 1000, seconds + 1, kept)] == [True, False, True]
    assert [each.holds for each in flow_invariants(links, 1000, seconds, kept + 1)] == [True, True, False]


def test_generated_tables_balance(tmp_path: Path):
    write_tables(tmp_path, 500)
    assert '"balanced": true' in (audit_folder(tmp_path) / "summary.json").read_text()
