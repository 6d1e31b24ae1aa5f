"""Configuration: one typed YAML file per run, checked key by key, saved beside the output."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")


class BadSettings(ValueError):
    """A configuration that names an unknown key or gives a value of the wrong kind."""


def build(cls: type[T], data: Mapping[str, Any] | None, where: str = "configuration") -> T:
    """A dataclass (of dataclasses) from plain data. Unknown keys and wrong types raise `BadSettings` naming them."""
    data = dict(data or {})
    _refuse_unknown(cls, data, where)
    try:
        return TypeAdapter(cls).validate_python(data)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise BadSettings(f"{where}: {key}: {first['msg']}, got {first['input']!r}") from error


def _refuse_unknown(cls: Any, data: Mapping[str, Any], where: str) -> None:
    hints = get_type_hints(cls)
    names = [field.name for field in dataclasses.fields(cls)]
    for key, value in data.items():
        if key not in names:
            near = difflib.get_close_matches(str(key), names, n=1)
            meant = f" (did you mean {near[0]!r}?)" if near else ""
            raise BadSettings(f"{where}: there is no setting {key!r}{meant}; there are {', '.join(names)}")
        if dataclasses.is_dataclass(hints[key]) and isinstance(value, Mapping):
            _refuse_unknown(hints[key], value, f"{where}: {key}")


def load_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file, or `BadSettings` with the line where it stops being one."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadSettings(f"there is no configuration file {path}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadSettings(f"{path} is not a YAML file: {error}") from error
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise BadSettings(f"{path} must hold a mapping of settings, found a {type(data).__name__}")
    return data


def with_overrides(data: dict[str, Any], assignments: list[str]) -> dict[str, Any]:
    """`data` with each `a.b=value` applied; the value is read as YAML."""
    for assignment in assignments:
        path, separator, text = assignment.partition("=")
        if not separator or not path:
            raise BadSettings(f"--set {assignment!r}: write it as name.name=value")
        *parents, last = path.split(".")
        node = data
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise BadSettings(f"--set {assignment!r}: {parent} is not a group of settings")
        node[last] = yaml.safe_load(text)
    return data


def over(defaults: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """`data` laid over `defaults`, group by group. A group that is given as null is taken away."""
    merged = dict(defaults)
    for key, value in data.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = over(merged[key], value)
        else:
            merged[key] = value
    return merged


def plain(settings: Any) -> Any:
    """A settings dataclass as JSON- and YAML-able data."""
    if dataclasses.is_dataclass(settings) and not isinstance(settings, type):
        return {f.name: plain(getattr(settings, f.name)) for f in dataclasses.fields(settings)}
    if isinstance(settings, Mapping):
        return {str(key): plain(value) for key, value in settings.items()}
    if isinstance(settings, (list, tuple)):
        return [plain(value) for value in settings]
    if isinstance(settings, Path):
        return str(settings)
    return settings
