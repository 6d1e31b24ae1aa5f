"""The Croissant file: valid for mlcroissant, and true."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.audit.card import write_card
from pipelines.engine.atomic import file_digest
from tests.audit.test_card import audited  # noqa: F401

mlcroissant = pytest.importorskip("mlcroissant")


@pytest.fixture
def described(audited: Path, tmp_path: Path) -> Path:  # noqa: F811
    return write_card(audited, "wild", tmp_path / "README.md", "https://example.org/set")[1]


def test_mlcroissant_finds_no_error(described: Path):
    dataset = mlcroissant.Dataset(str(described))
    assert dataset.metadata.issues.errors == set()
    assert {each.id for each in dataset.metadata.record_sets} == {"clips"}


def test_without_an_address_it_is_valid_too(audited: Path, tmp_path: Path):  # noqa: F811
    path = write_card(audited, "wild", tmp_path / "README.md")[1]
    assert mlcroissant.Dataset(str(path)).metadata.issues.errors == set()


def test_every_shard_is_listed_with_its_sha256(described: Path, audited: Path):  # noqa: F811
    files = {each["name"]: each.get("sha256") for each in json.loads(described.read_text())["distribution"]}
    for row in json.loads((audited / "dataset.json").read_text())["shards"]:
        assert files[row["name"]] == row["sha256"]
    assert files["clips.parquet"] == file_digest(audited / "audit/clips.parquet")


def test_the_licences_are_those_of_the_kept_clips(described: Path):
    assert set(json.loads(described.read_text())["license"]) == {
        "CC-BY-4.0", "CC0-1.0", "youtube", "all rights reserved",
    }  # fmt: skip


def test_its_records_can_be_read(described: Path, audited: Path):  # noqa: F811
    """With the files where the description says that they are, mlcroissant reads the clips."""
    place = audited / "croissant.json"
    place.write_text(described.read_text())
    records = list(mlcroissant.Dataset(str(place)).records("clips"))
    assert len(records) == 400
