"""Tables and page: published numbers with their marks, ours among them, and texts that stay texts."""

from __future__ import annotations

import csv
import html
import re
from pathlib import Path

import pytest
import yaml

from pipelines.cli import main
from pipelines.evaluate.published_tables import FOLDER, published
from pipelines.evaluate.report.latex import latex
from pipelines.evaluate.report.markdown import markdown
from pipelines.evaluate.report.tables import Cell, Row, Table
from tests.evaluate.videos import write_set

HOSTILE = "<img src=x onerror=alert(1)>|$\\input{x}_&"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("set")
    ours, theirs = write_set(root, {"a": 4, "<b>bold": 4, "c_d": 5})
    folder = root / "out"
    arguments = ["evaluate", str(ours), str(theirs), "--dataset", "tiktok", "--metrics", "l1,psnr,ssim,kid"]
    assert main([*arguments, "--method", HOSTILE, "--out", str(folder)]) == 0
    return folder


def test_the_papers_ablation_is_as_printed() -> None:
    [table] = [table for table in published("tiktok") if table.name == "ablation"]
    assert {row.method: row.values["fvd"] for row in table.rows} == {
        "without identity": 191.75, "without skeleton": 175.03, "without rendering": 166.64, "full": 152.97,
    }  # fmt: skip


def test_every_published_psnr_and_l1_of_tiktok_carries_a_mark() -> None:
    for table in published("tiktok"):
        for row in table.rows:
            for metric in {"psnr", "l1"} & set(row.values):
                assert table.marks(row, metric), (row.method, metric)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_published_number_has_a_source_and_a_known_column(path: Path) -> None:
    held = yaml.safe_load(path.read_text())
    assert held["source"]
    for row in held["rows"]:
        assert row["source"]
        assert set(row["values"]) <= set(held["metrics"])


def test_a_dataset_of_ones_own_has_no_published_tables() -> None:
    assert published("generic") == []


def test_ours_stands_in_the_published_table_under_its_protocol(out: Path) -> None:
    rows = list(csv.DictReader((out / "table.csv").open()))
    wanted = ("measured", "disco", "psnr")
    disco = next(row for row in rows if (row["source"], row["protocol"], row["metric"]) == wanted)
    text = (out / "table.md").read_text()
    last = next(line for line in text.split("## Published on TikTok")[1].splitlines() if "disco protocol" in line)
    assert f"{float(disco['value']):.2f}<sup>" in last


def test_absent_numbers_are_in_the_table_with_their_reason(out: Path) -> None:
    rows = [row for row in csv.DictReader((out / "table.csv").open()) if row["metric"] == "kid"]
    if rows[0]["value"] == "":
        assert "was not found" in rows[0]["reason"]
        assert "absent" in (out / "index.html").read_text()


def test_names_from_outside_stay_text_everywhere(out: Path) -> None:
    page = (out / "index.html").read_text()
    assert "<img src=x" not in page
    assert "<b>bold" not in page
    assert "&lt;b&gt;bold" in page
    assert "<img" not in (out / "table.md").read_text().replace("\\<", "")
    assert "\\input{" not in (out / "table.tex").read_text()


def test_the_page_loads_nothing_from_anywhere(out: Path) -> None:
    page = html.unescape((out / "index.html").read_text())
    assert "default-src 'none'" in page
    assert "<script" not in page
    sources = re.findall(r'src="([^"]+)"', page)
    assert sources
    assert all((out / source).is_file() for source in sources)


def test_every_video_has_its_means(out: Path) -> None:
    rows = {row["video"]: row for row in csv.DictReader((out / "videos.csv").open())}
    assert set(rows) == {"a", "<b>bold", "c_d"}
    assert float(rows["c_d"]["psnr.corrected"]) > 20


def test_spreadsheets_are_given_no_formulas(tmp_path: Path) -> None:
    ours, theirs = write_set(tmp_path, {"a": 3})
    main(["evaluate", str(ours), str(theirs), "--metrics", "l1", "--method", "=1+1", "--out", str(tmp_path / "out")])
    assert ",=1" not in (tmp_path / "out" / "table.csv").read_text()
    assert "'=1+1" in (tmp_path / "out" / "table.csv").read_text()


def test_markup_of_both_kinds_is_escaped() -> None:
    table = Table(HOSTILE, "x", ("A", "B"), (Row(HOSTILE, (Cell(HOSTILE, "a"),)),), (("a", HOSTILE),))
    assert "<img" not in markdown("h", [table], [HOSTILE]).replace("\\<", "")
    assert r"\textbackslash{}input\{x\}\_\&" in latex([table])


def test_a_mistake_ends_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(tmp_path / "x"), str(tmp_path / "y"), "--out", str(tmp_path / "out")]) == 1
    told = capsys.readouterr().err.strip()
    assert told.startswith("error: ")
    assert "there is no such folder" in told
    assert "Traceback" not in told
