"""What lies in a shard is read as untrusted."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.audit.stored import MAX_BYTES, Contents, Place, check_meta, list_members, read_member, read_sample
from pipelines.shard_format import BadSample, pack_arrays

KEY = "0123456789abcdef_000000"


def tar_of(path: Path, *entries: tuple[str, bytes, bytes]) -> Path:
    """A tar of (name, type, content)."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, kind, content in entries:
            entry = tarfile.TarInfo(name)
            entry.type, entry.size, entry.linkname = kind, len(content), "/etc/passwd"
            tar.addfile(entry, io.BytesIO(content))
    return path


def meta(**changes: object) -> bytes:
    plain = {"schema": 1, "key": KEY, "frames": 4, "fps": [24, 1], "size": [64, 96], "source": {"provenance": {}}}
    return json.dumps({**plain, **changes}).encode()


def test_members_are_found_where_tarfile_finds_them(tmp_path: Path):
    small, large = (f"{KEY}.json", tarfile.REGTYPE, b"{}"), (f"{KEY}.video.mp4", tarfile.REGTYPE, b"x" * 700)
    path = tar_of(tmp_path / "a.tar", small, large)
    with tarfile.open(path) as tar:
        expected = {entry.name: (entry.offset_data, entry.size) for entry in tar}
    found = list_members(path).samples[KEY]
    assert {f"{KEY}.{name}": (p.offset, p.size) for name, p in found.items()} == expected


def test_a_whole_tar_has_no_problems(tmp_path: Path):
    assert list_members(tar_of(tmp_path / "a.tar", (f"{KEY}.json", tarfile.REGTYPE, b"{}"))).problems == []


@pytest.mark.parametrize(
    "name", ["../../etc/cron.d/x.json", "/abs.json", "a/b.json", "..json", f"{KEY}.exe", "x" * 99, f"{KEY}."]
)
def test_a_name_that_is_no_member_is_told_and_not_read(tmp_path: Path, name: str):
    contents = list_members(tar_of(tmp_path / "a.tar", (name, tarfile.REGTYPE, b"{}")))
    assert contents.samples == {}
    assert len(contents.problems) == 1


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, b"x", b"L", b"S"],
)
def test_what_is_not_a_plain_file_is_not_followed(tmp_path: Path, kind: bytes):
    contents = list_members(tar_of(tmp_path / "a.tar", (f"{KEY}.json", kind, b"")))
    assert contents.samples == {}
    assert "not followed" in contents.problems[0]


def test_a_member_that_comes_twice_counts_once(tmp_path: Path):
    twice = (f"{KEY}.json", tarfile.REGTYPE, b"{}")
    contents = list_members(tar_of(tmp_path / "a.tar", twice, twice))
    assert "twice" in contents.problems[0]
    assert contents.samples[KEY]["json"].offset == 512


def test_a_truncated_shard_says_so_and_keeps_what_came_before(tmp_path: Path):
    small, large = (f"{KEY}.json", tarfile.REGTYPE, b"{}"), (f"{KEY}.video.mp4", tarfile.REGTYPE, b"x" * 5000)
    path = tar_of(tmp_path / "a.tar", small, large)
    path.write_bytes(path.read_bytes()[:3000])
    contents = list_members(path)
    assert read_member(path, KEY, "json", contents.samples[KEY]["json"]) == b"{}"
    assert any("truncated" in problem for problem in contents.problems)
    with pytest.raises(BadSample, match="cut off"):
        read_member(path, KEY, "video.mp4", contents.samples[KEY]["video.mp4"])


@given(st.binary(max_size=3000))
@settings(max_examples=60, deadline=None)
def test_no_bytes_break_the_walk(tmp_path_factory: pytest.TempPathFactory, data: bytes):
    path = tmp_path_factory.mktemp("any") / "a.tar"
    path.write_bytes(data)
    assert isinstance(list_members(path), Contents)


def test_a_giant_json_is_refused_before_it_is_read(tmp_path: Path):
    with pytest.raises(BadSample, match="more than"):
        read_member(tmp_path / "not even there", KEY, "json", Place(512, MAX_BYTES["json"] + 1))


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (meta(frames=10**12), "frames should be a whole number"),
        (meta(frames=True), "frames"),
        (meta(frames="4"), "frames"),
        (meta(fps=[0, 1]), "fps"),
        (meta(fps=None), "fps"),
        (meta(size=[64, 10**9]), "size"),
        (meta(key="another"), "is of the sample"),
        (meta(source=None), "provenance"),
        (meta(source={"provenance": {"title": "x" * 20_000}}), "characters"),
        (b'{"weight": NaN}', "no JSON"),
        (b'{"weight": -Infinity}', "no JSON"),
        (b"[" * 100_000, "does not parse"),
        (b"\xff\xfe", "does not parse"),
        (b"[]", "expected an object"),
        (b"null", "expected an object"),
    ],
)  # fmt: skip
def test_a_bad_json_is_refused_with_the_reason(data: bytes, told: str):
    with pytest.raises(BadSample, match=told):
        check_meta(KEY, data)


def members_of(tmp_path: Path, **changed: bytes) -> tuple[Path, dict[str, Place]]:
    names = ("face.npz", "json", "pose.npz", "render.mp4", "smplx.npz", "video.mp4")
    plain = {name: pack_arrays({}) if name.endswith("npz") else b"" for name in names} | {"json": meta()}
    plain |= {name.replace("_", "."): data for name, data in changed.items()}
    path = tar_of(tmp_path / "a.tar", *((f"{KEY}.{name}", tarfile.REGTYPE, data) for name, data in plain.items()))
    return path, list_members(path).samples[KEY]


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path: Path):
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(6):
            archive.writestr(f"{number}.npy", bytes(100 << 20), compresslevel=1)
    path, members = members_of(tmp_path, pose_npz=bomb.getvalue())
    with pytest.raises(BadSample, match="would unpack to"):
        read_sample(path, KEY, members, videos=False)


def test_a_pickle_in_an_npz_is_never_loaded(tmp_path: Path):
    class Trap:
        def __reduce__(self) -> tuple:
            return Path.touch, (tmp_path / "sprung",)

    stream = io.BytesIO()
    np.savez(stream, keypoints=np.array([Trap()], dtype=object), allow_pickle=True)
    path, members = members_of(tmp_path, pose_npz=stream.getvalue())
    with pytest.raises(BadSample, match=r"pose\.npz"):
        read_sample(path, KEY, members, videos=False)
    assert not (tmp_path / "sprung").exists()


def test_a_sample_without_a_member_is_refused(tmp_path: Path):
    path, members = members_of(tmp_path)
    del members["face.npz"]
    with pytest.raises(BadSample, match=r"lacks face\.npz"):
        read_sample(path, KEY, members)
