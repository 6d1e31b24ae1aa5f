"""Settings are checked key by key, and errors name the key."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pipelines.settings import BadSettings, build, load_yaml, plain, with_overrides


@dataclass(frozen=True)
class Inner:
    seconds: float = 2.0
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
    count: int = 1


def test_what_is_not_given_keeps_its_default():
    assert build(Outer, {"inner": {"seconds": 3}}) == Outer(Inner(3.0), 1)


def test_an_unknown_key_is_named_with_the_known_ones():
    with pytest.raises(BadSettings, match="inner: there is no setting 'colour'; there are seconds, names"):
        build(Outer, {"inner": {"colour": 3}})


def test_the_nearest_known_name_is_proposed():
    with pytest.raises(BadSettings, match=r"no setting 'second' \(did you mean 'seconds'\?\)"):
        build(Outer, {"inner": {"second": 3}})


def test_a_wrong_type_is_named_with_its_value():
    with pytest.raises(BadSettings, match=r"inner\.seconds: .*'long'"):
        build(Outer, {"inner": {"seconds": "long"}})


def test_overrides_reach_into_groups():
    data = with_overrides({}, ["inner.seconds=4", "inner.names=[a, b]"])
    assert data == {"inner": {"seconds": 4, "names": ["a", "b"]}}


def test_an_override_without_a_value_is_refused():
    with pytest.raises(BadSettings, match=r"name\.name=value"):
        with_overrides({}, ["inner.seconds"])


def test_plain_data_builds_the_same_settings():
    settings = Outer(Inner(3.5, ("a",)), 7)
    assert build(Outer, plain(settings)) == settings


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "\x00"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str):
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(BadSettings, match=r"x\.yaml"):
        load_yaml(path)


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(BadSettings, match="no configuration file"):
        load_yaml(tmp_path / "absent.yaml")
