from __future__ import annotations

import os
from pathlib import Path

import fsspec
import pytest

from pipelines.ingest.sources import Source, find_sources, is_url, localise, natural_key


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())


def names(sources: list[Source]) -> list[str]:
    return [source.name for source in sources]


def test_a_folder_is_searched_below_in_natural_order(tmp_path: Path) -> None:
    touch(tmp_path, "clip10.mp4", "clip2.mp4", "b/deep/er/x.MKV", "a.MoV", "readme.txt", "poster.jpg")
    assert names(find_sources(tmp_path)) == ["a.MoV", "b/deep/er/x.MKV", "clip2.mp4", "clip10.mp4"]


def test_hidden_files_and_side_cars_are_left_out(tmp_path: Path) -> None:
    touch(tmp_path, ".x.mp4", ".cache/y.mp4", "a.mp4", "a.info.json", "sources.csv", "a.mp4.json", "._a.mp4")
    assert names(find_sources(tmp_path)) == ["a.mp4"]


def test_an_empty_folder_has_no_sources(tmp_path: Path) -> None:
    assert find_sources(tmp_path) == []


def test_what_does_not_exist_at_all_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        find_sources(tmp_path / "nowhere")


def test_a_single_file_needs_no_known_extension(tmp_path: Path) -> None:
    touch(tmp_path, "video.bin")
    assert find_sources(tmp_path / "video.bin") == [
        Source(str(tmp_path / "video.bin"), "video.bin", str(tmp_path)),
    ]


def test_a_glob_reaches_into_folders(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.mp4", "a/2.mov", "b/c/3.mp4", "b/4.txt")
    assert names(find_sources(f"{tmp_path}/**/*.mp4")) == ["a/1.mp4", "b/c/3.mp4"]
    assert names(find_sources(f"{tmp_path}/a/*")) == ["1.mp4", "2.mov"]


def test_a_file_whose_name_looks_like_a_glob_is_a_file(tmp_path: Path) -> None:
    touch(tmp_path, "a [x?].mp4")
    assert names(find_sources(tmp_path / "a [x?].mp4")) == ["a [x?].mp4"]


def test_a_list_is_relative_to_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "lists/v/a b.mp4", "other/c.mp4")
    lines = ["\ufeff# mine", "", "v/a b.mp4", f"  {tmp_path}/other/c.mp4  ", "v/a b.mp4", "v/gone.mp4"]
    (tmp_path / "lists/all.txt").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.chdir("/")
    found = find_sources(tmp_path / "lists/all.txt")
    assert {Path(s.location).name: s.reason for s in found} == {"c.mp4": None, "a b.mp4": None, "gone.mp4": "not_found"}


@pytest.mark.parametrize(
    ("line", "reason"), [("x" * 5000, "unreadable"), ("a\0b.mp4", "bad_name"), ("~nobody-here/a.mp4", "not_found")]
)
def test_an_impossible_line_of_a_list_is_reported(tmp_path: Path, line: str, reason: str) -> None:
    (tmp_path / "all.txt").write_text(line)
    assert [source.reason for source in find_sources(tmp_path / "all.txt")] == [reason]


def test_a_list_may_name_urls(tmp_path: Path) -> None:
    with fsspec.open("memory://listed/a.mp4", "wb") as file:
        file.write(b"x")
    (tmp_path / "all.txt").write_text("memory://listed/a.mp4\nmemory://listed/gone.mp4\n")
    found = find_sources(tmp_path / "all.txt")
    assert [(source.location, source.reason) for source in found] == [
        ("memory:///listed/a.mp4", None),
        ("memory://listed/gone.mp4", "not_found"),
    ]


@pytest.mark.parametrize(
    "name", ["with space.mp4", "été 舞蹈 💃.mp4", "new\nline.mp4", "quote'\".mp4", "x" * 240 + ".mp4"]
)
def test_any_name_is_found(tmp_path: Path, name: str) -> None:
    touch(tmp_path, name)
    found = find_sources(tmp_path)
    assert names(found) == [name]
    assert found[0].reason is None
    assert Path(found[0].location).read_bytes() == name.encode()


def test_a_broken_link_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").symlink_to(tmp_path / "gone.mp4")
    assert [source.reason for source in find_sources(tmp_path)] == ["broken_link"]


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    touch(tmp_path, "real/a.mp4", "src/b.mp4")
    (tmp_path / "src/link").symlink_to(tmp_path / "real")
    (tmp_path / "real/back").symlink_to(tmp_path / "src")
    assert names(find_sources(tmp_path / "src")) == ["b.mp4", "link/a.mp4"]


def test_an_unfinished_download_is_reported(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4.part", "notes.part")
    assert [(s.name, s.reason) for s in find_sources(tmp_path)] == [("a.mp4.part", "unfinished_download")]


def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mp4")
    assert [source.reason for source in find_sources(tmp_path)] == ["not_a_file"]


def test_a_name_that_is_not_utf8_is_reported(tmp_path: Path) -> None:
    with open(os.fsencode(tmp_path) + b"/caf\xe9.mp4", "wb"):
        pass
    (source,) = find_sources(tmp_path)
    assert source.reason == "bad_name"
    assert (source.name + source.location + source.message).encode("utf-8")


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_what_may_not_be_read_is_reported(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "closed/b.mp4")
    (tmp_path / "a.mp4").chmod(0)
    (tmp_path / "closed").chmod(0)
    found = find_sources(tmp_path)
    (tmp_path / "closed").chmod(0o755)
    assert {source.reason for source in found} == {"unreadable"}
    assert len(found) == 2


def test_a_remote_folder_is_listed_and_copied(tmp_path: Path) -> None:
    for name in ("b.mp4", "sub/a.mp4", "notes.txt", ".hidden.mp4"):
        with fsspec.open(f"memory://bucket/{name}", "wb") as file:
            file.write(name.encode())
    found = find_sources("memory://bucket")
    assert names(found) == ["b.mp4", "sub/a.mp4"]
    copies = [localise(source, tmp_path) for source in found]
    assert [copy.read_bytes() for copy in copies] == [b"b.mp4", b"sub/a.mp4"]
    assert all(copy.suffix == ".mp4" for copy in copies)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_remote_glob_is_listed() -> None:
    for name in ("x/1.mp4", "x/2.mp4", "x/3.mov"):
        with fsspec.open(f"memory://globbed/{name}", "wb") as file:
            file.write(b"x")
    assert names(find_sources("memory://globbed/x/*.mp4")) == ["1.mp4", "2.mp4"]


def test_a_failed_copy_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        localise(Source("memory://bucket/absent.mp4", "absent.mp4"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_local_source_is_used_in_place(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4")
    (source,) = find_sources(tmp_path)
    assert localise(source, tmp_path / "copies") == tmp_path / "a.mp4"
    assert not (tmp_path / "copies").exists()


def test_a_file_url_is_a_local_folder(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4")
    (source,) = find_sources(f"file://{tmp_path}")
    assert not source.remote


def test_an_unknown_protocol_is_reported() -> None:
    (source,) = find_sources("gopher2://host/a.mp4")
    assert source.reason == "unknown_protocol"


def test_colons_alone_make_no_url() -> None:
    assert [is_url(text) for text in ("s3://b/a", "C:\\a.mp4", "a:b.mp4", "zip::file://x")] == [
        True,
        False,
        False,
        True,
    ]


def test_natural_order_counts_numbers() -> None:
    assert sorted(["a10", "a9", "a", "10", "9b"], key=natural_key) == ["9b", "10", "a", "a9", "a10"]
