from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.ingest import provenance as module
from pipelines.ingest.provenance import Provenance, clean_text, clean_url, read_provenance
from pipelines.ingest.sources import Source, find_sources

INFO = {
    "webpage_url": "https://www.bilibili.com/video/BV1",
    "uploader": "舞者",
    "title": "dance",
    "license": "CC BY 4.0",
    "upload_date": "20240131",
    "extractor_key": "BiliBili",
}


def source(folder: Path, name: str = "a.mp4") -> Source:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(b"x")
    return next(s for s in find_sources(folder) if s.name == name)


def test_nothing_known_is_unknown(tmp_path: Path) -> None:
    assert read_provenance(source(tmp_path)) == Provenance()
    assert Provenance().licence == "unknown"


@pytest.mark.parametrize("name", ["a.info.json", "a.mp4.info.json"])
def test_a_side_car_of_yt_dlp_is_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(json.dumps(INFO), encoding="utf-8")
    found = read_provenance(source(tmp_path))
    assert found.url == "https://www.bilibili.com/video/BV1"
    assert (found.uploader, found.title, found.licence) == ("舞者", "dance", "CC BY 4.0")
    assert (found.date, found.platform) == ("2024-01-31", "BiliBili")
    assert set(found.read_from.values()) == {name}


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table_is_read_with_bom_and_quotes(tmp_path: Path, delimiter: str) -> None:
    header = delimiter.join(["File", "URL", "Uploader", "Licence", "Title"])
    line = delimiter.join(["sub/a.mp4", "https://e.org/1", f'"Doe{delimiter} J."', "CC0", '"a ""b"""'])
    (tmp_path / "sources.csv").write_text(f"\ufeff{header}\r\n{line}\r\n", encoding="utf-8")
    found = read_provenance(source(tmp_path, "sub/a.mp4"))
    assert (found.url, found.uploader, found.title) == (
        "https://e.org/1",
        " ".join(f"Doe{delimiter} J.".split()),
        'a "b"',
    )
    assert (found.licence, found.read_from["licence"]) == ("CC0", "sources.csv:2")


def test_the_nearest_table_goes_first_and_others_fill_the_gaps(tmp_path: Path) -> None:
    video = source(tmp_path, "sub/a.mp4")
    (tmp_path / "sources.csv").write_text("file,licence,uploader\na.mp4,CC0,outer\n")
    (tmp_path / "sub/sources.csv").write_text("file,licence\na.mp4,CC BY\n")
    found = read_provenance(video)
    assert (found.licence, found.uploader) == ("CC BY", "outer")
    assert found.read_from == {"licence": "sub/sources.csv:2", "uploader": "sources.csv:2"}


def test_a_table_goes_before_a_side_car(tmp_path: Path) -> None:
    (tmp_path / "a.info.json").write_text(json.dumps(INFO))
    (tmp_path / "sources.csv").write_text("filename,license,title\na.mp4,All rights reserved,unknown\n")
    found = read_provenance(source(tmp_path))
    assert (found.licence, found.title) == ("All rights reserved", "dance")


def test_tables_above_the_named_folder_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "sources.csv").write_text("file,licence\na.mp4,CC0\n")
    assert read_provenance(source(tmp_path / "videos")).licence == "unknown"


def test_a_bare_name_that_stands_for_two_files_decides_neither(tmp_path: Path) -> None:
    (tmp_path / "sources.csv").write_text("file,licence\nx/a.mp4,CC0\ny/a.mp4,CC BY\n")
    assert read_provenance(source(tmp_path, "z/a.mp4")).licence == "unknown"
    assert read_provenance(source(tmp_path, "y/a.mp4")).licence == "CC BY"


@pytest.mark.parametrize(
    ("content", "warning"),
    [
        (b'{"title": ', "not valid JSON"),
        (b"[1, 2]", "expected an object"),
        (b"\xff\xfe\x00", "not valid JSON"),
        (b"[" * 200_000, "not valid JSON"),
        (b'{"title": {"a": 1}}', "title is not usable"),
    ],
)
def test_a_broken_side_car_is_a_warning(tmp_path: Path, content: bytes, warning: str) -> None:
    (tmp_path / "a.info.json").write_bytes(content)
    found = read_provenance(source(tmp_path))
    assert warning in found.warnings[0]
    assert found.title == "unknown"


def test_a_giant_side_car_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_INFO_BYTES", 1000)
    (tmp_path / "a.info.json").write_text(json.dumps({**INFO, "formats": "x" * 1000}))
    assert "larger than" in read_provenance(source(tmp_path)).warnings[0]


@pytest.mark.parametrize(
    ("content", "warning"),
    [
        (b"name,url\na.mp4,https://e.org\n", "no column named file"),
        (b"file,url\n\xe9.mp4,x\n", "not UTF-8"),
        (b'file,url\na.mp4,"' + b"x" * 200_000 + b'"\n', "line"),
        (b"file,url\na.mp4,javascript://e.org/%0aalert(1)\n", "url is not usable"),
    ],
)
def test_a_broken_table_is_a_warning(tmp_path: Path, content: bytes, warning: str) -> None:
    (tmp_path / "sources.csv").write_bytes(content)
    found = read_provenance(source(tmp_path))
    assert any(warning in text for text in found.warnings)
    assert found.url == "unknown"


def test_an_empty_table_is_a_warning_and_ragged_rows_are_fine(tmp_path: Path) -> None:
    (tmp_path / "sources.csv").write_bytes(b"")
    assert "no column named file" in read_provenance(source(tmp_path)).warnings[0]
    (tmp_path / "sources.csv").write_text("file,url,licence\n\na.mp4\na.mp4,https://e.org,CC0,extra\n")
    assert read_provenance(source(tmp_path)).warnings == ()


def test_credentials_are_taken_out_of_urls() -> None:
    assert clean_url("https://me:secret@e.org:8080/v?id=1#t") == "https://e.org:8080/v?id=1#t"


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "https://", "no url", "http://[", 7]
)
def test_what_is_no_address_of_a_page_is_refused(url: object) -> None:
    assert clean_url(url) is None


@given(st.text(max_size=3000))
def test_cleaned_text_is_one_short_printable_line(text: str) -> None:
    cleaned = clean_text(text, 100)
    if cleaned is not None:
        assert 0 < len(cleaned) <= 100
        assert cleaned.isprintable() or "\u00a0" in cleaned or any(c.isspace() for c in cleaned)
        assert not any(c in cleaned for c in "\n\r\t\0\x1b\u202e")
        cleaned.encode("utf-8")


def test_an_http_source_is_its_own_url_and_a_bucket_says_nothing() -> None:
    assert read_provenance(Source("https://e.org/a.mp4", "a.mp4")).url == "https://e.org/a.mp4"
    assert read_provenance(Source("s3://bucket/a.mp4", "a.mp4")).url == "unknown"
