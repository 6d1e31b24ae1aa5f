"""Dataset cards: the facts of the paper, and what was measured, in a form that catalogues read."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest
import yaml

from pipelines.audit.card import CARDS, BadTemplate, read_template, size_category, write_card
from pipelines.audit.card_measured import plain
from pipelines.audit.synthetic import write_tables
from pipelines.cli import main
from pipelines.engine.atomic import digest


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generated tables of 400 rows, with the dataset.json of two shards."""
    out = tmp_path_factory.mktemp("card") / "out"
    write_tables(out, 400)
    counts = {"bytes": 1000, "samples": 2, "frames": 9}
    rows = [{"name": f"vividpose-{n:06d}.tar", "sha256": digest(n), **counts} for n in (0, 1)]
    facts = {"hash": digest("all"), "samples": 4, "frames": 18, "bytes": 2000, "estimators": {}, "shards": rows}
    (out / "dataset.json").write_text(json.dumps(facts))
    return out


@pytest.mark.parametrize("name", ["ubcfashion", "tiktok", "wild"])
def test_every_card_can_be_filled_and_read(audited: Path, tmp_path: Path, name: str):
    card, _ = write_card(audited, name, tmp_path / "README.md")
    header, text = card.read_text().split("---\n", 2)[1:]
    assert yaml.safe_load(header)["size_categories"] == ["n<1K"]
    assert "## This copy, measured" in text
    assert "<!-- measured -->" not in text


@pytest.mark.parametrize(
    ("name", "facts"),
    [("ubcfashion", ("500", "100", "350")), ("tiktok", ("340", "10 to 15 s")), ("wild", ("3,000", "2,224", "776"))],
)
def test_the_cards_hold_the_numbers_of_the_paper(name: str, facts: tuple[str, ...]):
    text = (CARDS / f"{name}.md").read_text()
    assert all(fact in text for fact in facts)


def test_the_header_is_one_that_hugging_face_reads():
    from huggingface_hub import DatasetCard

    for path in CARDS.glob("*.md"):
        data = DatasetCard(path.read_text()).data
        assert data.pretty_name
        assert data.license == "unknown"


def test_the_card_counts_what_the_tables_hold(audited: Path, tmp_path: Path):
    card, _ = write_card(audited, "wild", tmp_path / "README.md")
    row = duckdb.execute(
        "select count(*) from read_parquet(?) where outcome = 'kept'", [str(audited / "audit/clips.parquet")]
    ).fetchone()
    assert row is not None
    assert f"| Clips kept | {row[0]}" in card.read_text()


def test_other_peoples_text_is_no_markup():
    assert plain("<script>alert(1)</script>|a") == "&lt;script&gt;alert(1)&lt;/script&gt;\\|a"
    assert plain("[x](https://evil.example)") == "\\[x\\](https\\://evil.example)"
    assert plain("a\n\n# b") == "a # b"


@pytest.mark.parametrize(("clips", "name"), [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (2_000_000, "1M<n<10M")])
def test_the_size_category_is_that_of_hugging_face(clips: int, name: str):
    assert size_category(clips) == name


def test_a_template_without_the_mark_is_refused(tmp_path: Path):
    (tmp_path / "mine.md").write_text("---\na: 1\n---\ntext\n")
    with pytest.raises(BadTemplate, match="measured"):
        read_template(tmp_path / "mine.md")


def test_an_unknown_template_is_one_line_with_the_known_ones(audited: Path, capsys: pytest.CaptureFixture):
    assert main(["card", str(audited), "--template", "nowhere"]) == 1
    assert "tiktok, ubcfashion, wild" in capsys.readouterr().err


def test_a_dataset_without_audit_is_told_to_audit_first(tmp_path: Path, capsys: pytest.CaptureFixture):
    assert main(["card", str(tmp_path)]) == 1
    assert "vividpose audit" in capsys.readouterr().err
