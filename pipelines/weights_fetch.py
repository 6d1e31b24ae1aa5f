"""`vividpose weights`: which files there are, fetching those that need no login, and telling how to get the rest."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipelines.engine.atomic import file_digest
from pipelines.weights import CATALOGUE, Weight, find, search_folders
from pipelines.weights_sources import HUB, SOURCES, Source


class FetchError(RuntimeError):
    """A file could not be fetched; the message is one line that says what to do."""


@dataclass(frozen=True)
class Row:
    """One file of the catalogue and what is known of it here.

    source: where it is published; None for a shipped file. path: where it lies on this machine, or None.
    note: what is odd about the file that was found, or "".
    """

    weight: Weight
    source: Source | None
    path: Path | None
    note: str

    @property
    def state(self) -> str:
        """shipped, found, can be fetched, or by hand."""
        if self.path is not None:
            return "shipped" if self.weight.shipped is not None else "found"
        return "can be fetched" if self.source is not None and self.source.repo is not None else "by hand"


def list_weights() -> list[Row]:
    """Every file that the project can use, in the order of the catalogue. Reads no file's content."""
    rows = []
    for weight in CATALOGUE:
        source, path = SOURCES.get(weight.name), find(weight)
        note = ""
        if path is not None and source is not None and source.bytes is not None and path.stat().st_size != source.bytes:
            note = f"{path.stat().st_size:,} bytes, the published file has {source.bytes:,}: another file, or damaged"
        rows.append(Row(weight, source, path, note))
    return rows


def destination() -> Path:
    """Where fetched files go: the first folder of $VIVIDPOSE_WEIGHTS, or ./weights."""
    return search_folders()[0]


def how_to(name: str) -> str:
    """Step by step what to do to get a file, as lines of text. Raises FetchError for a name that is not known."""
    weight, source = _known(name)
    use = "commercial use is allowed" if weight.commercial else "NO commercial use"
    lines = [f"{weight.name}: for the stage {weight.role}; {weight.licence} ({use})"]
    if source is None:
        return "\n".join([*lines, "It is shipped with this package: there is nothing to do."])
    if source.repo is not None:
        accept = "" if weight.commercial else " --accept-licence"
        steps = [
            f"vividpose weights fetch {weight.name}{accept}",
            f"or download {_url(weight.name, source)} and put it into {destination()}",
        ]
    else:
        steps = [step.format(folder=destination()) for step in source.steps]
    lines += [f"  {number}. {step}" for number, step in enumerate(steps, 1)]
    if source.bytes is not None:
        lines.append(f"  size: {source.bytes:,} bytes")
    if source.sha256 is not None:
        lines.append(f"  sha256: {source.sha256}")
    return "\n".join([*lines, f"  page: {source.page}"])


def fetch(name: str, *, accept_licence: bool = False, tell: Callable[[str], None] = print) -> Path:
    """Download a file to `destination()` and check it; what is already there and right is not fetched again.

    A download that was cut short goes on where it ended. The checksum is the known one, or else the one that the hub
    gives for its large files. accept_licence: needed where commercial use is not allowed. tell: gets a line at
    the start and at the end.
    Raises FetchError: unknown name, not to be had without a login, no network, no space, another content.
    """
    weight, source = _known(name)
    if source is None:
        raise FetchError(f"{name} is shipped with this package: there is nothing to fetch")
    if source.repo is None:
        raise FetchError(
            f"{name} cannot be fetched without its own terms being accepted; {source.steps[0]} "
            f"`vividpose weights how-to {name}` gives all steps"
        )
    present = find(weight)
    if present is not None:
        _check_present(present, source)
        tell(f"{name} is already here: {present}")
        return present
    if not weight.commercial and not accept_licence:
        raise FetchError(
            f"{name} is under {weight.licence}: add --accept-licence if your use is allowed ({source.page})"
        )
    folder = destination()
    expected = _published_digest(name, source)
    tell(f"fetching {_url(name, source)} to {folder}")
    path = _download(name, source, folder)
    if expected is not None:
        got = file_digest(path)
        if got != expected:
            path.unlink()
            raise FetchError(f"{name}: expected sha256 {expected}, got {got}; the file was removed, fetch it again")
    tell(f"{path} ({path.stat().st_size:,} bytes, " + ("checksum right)" if expected else "no checksum known)"))
    return path


def _known(name: str) -> tuple[Weight, Source | None]:
    for weight in CATALOGUE:
        if weight.name == name:
            return weight, SOURCES.get(name)
    raise FetchError(f"no file named {name!r}; there are {', '.join(weight.name for weight in CATALOGUE)}")


def _check_present(path: Path, source: Source) -> None:
    if source.sha256 is not None and (got := file_digest(path)) != source.sha256:
        raise FetchError(
            f"{path} is another file or damaged: expected sha256 {source.sha256}, got {got}; "
            "move it away and fetch again"
        )


def _url(name: str, source: Source) -> str:
    return f"{HUB}/{source.repo}/resolve/main/{name}"


def _published_digest(name: str, source: Source) -> str | None:
    """Also the quick question whether the hub can be reached at all, before a download that tries for long."""
    import huggingface_hub

    try:
        etag = huggingface_hub.get_hf_file_metadata(_url(name, source), timeout=10).etag
    except _network_errors() as error:
        raise _unreachable(name, source, error) from error
    return source.sha256 or (etag if etag is not None and len(etag) == 64 else None)


def _download(name: str, source: Source, folder: Path) -> Path:
    import huggingface_hub

    try:
        folder.mkdir(parents=True, exist_ok=True)
        return Path(huggingface_hub.hf_hub_download(str(source.repo), name, local_dir=folder))
    except _network_errors() as error:
        raise _unreachable(name, source, error) from error


def _network_errors() -> tuple[type[Exception], ...]:
    """What huggingface_hub raises for no network, no such file and no space: its HTTP library changed over time."""
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, OfflineModeIsEnabled

    found: list[type[Exception]] = [OSError, EntryNotFoundError, HfHubHTTPError, OfflineModeIsEnabled]
    for library in ("httpx2", "httpx"):
        try:
            found.append(importlib.import_module(library).HTTPError)
        except ImportError:
            continue
    return tuple(found)


def _unreachable(name: str, source: Source, error: Exception) -> FetchError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
    return FetchError(
        f"{name} could not be fetched ({reason}); check the connection, or download {_url(name, source)} elsewhere and "
        f"put it into {destination()}"
    )
