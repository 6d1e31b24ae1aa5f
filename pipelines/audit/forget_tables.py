"""Taking sources out of everything else under OUT: tables, lists, latents, caches, previews, pages.

What can be filtered is filtered: rows of Parquet, lines of JSONL and CSV, samples of tars. A file in one of the
`DERIVED` folders that still speaks of a withdrawn source (a page, a latent, a cache) is removed whole, since it can be
made again. A person's own file elsewhere is left to that person: the search names it.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.audit.forget_search import Finder, Proof, Traces, files_under, search_file
from pipelines.audit.forget_shards import belongs, keys_of, rewrite
from pipelines.engine.atomic import whole_file, write_whole

OWN = ("shards", "work")
DERIVED = ("audit", "latents", "cache", "inspect")


def filter_table(path: Path, traces: Traces) -> int:
    """Remove the rows in which any text speaks of the sources. Returns how many; all others keep their values."""
    with pq.ParquetFile(path) as file:
        texts = [name for name, kind in zip(file.schema_arrow.names, file.schema_arrow.types) if _holds_text(kind)]
        masks = [
            [not any(_speaks(value, traces) for value in row) for row in zip(*(c.to_pylist() for c in batch.columns))]
            for batch in file.iter_batches(columns=texts)
        ]
        gone = sum(mask.count(False) for mask in masks)
        if gone:
            with whole_file(path) as temporary, pq.ParquetWriter(temporary, file.schema_arrow) as writer:
                for batch, mask in zip(file.iter_batches(), masks):
                    writer.write_batch(batch.filter(pa.array(mask)))
    return gone


def _holds_text(kind: pa.DataType) -> bool:
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return True
    if pa.types.is_dictionary(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _holds_text(kind.value_type)
    return pa.types.is_struct(kind) and any(_holds_text(part.type) for part in kind)


def _speaks(value: Any, traces: Traces) -> bool:
    if isinstance(value, str):
        return traces.mentions(value)
    if isinstance(value, dict):
        return any(_speaks(part, traces) for part in value.values())
    return isinstance(value, list) and any(_speaks(part, traces) for part in value)


def filter_lines(path: Path, finder: Finder) -> int:
    """Remove the lines that speak of the sources. Returns how many."""
    lines = path.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if not finder.find(line)]
    if len(kept) != len(lines):
        write_whole(path, b"".join(kept))
    return len(lines) - len(kept)


def forget_elsewhere(out: Path, traces: Traces, skip: frozenset[Path]) -> list[str]:
    """Clear every file under `out` but `OWN` and `skip`. Returns what was done, a line per file."""
    done: list[str] = []
    finder = Finder(traces)
    for path in list(files_under(out)):
        name = path.relative_to(out).as_posix()
        if name.split("/", 1)[0] in OWN or path in skip or not (path.exists() or path.is_symlink()):
            continue
        own = _named_after(path, out, traces)
        if own is None:
            derived = name.split("/", 1)[0] in DERIVED
            done += [f"{name}: {what}" for what in _clear(path, traces, finder, derived)]
        else:
            shutil.rmtree(own) if own.is_dir() and not own.is_symlink() else own.unlink()
            done.append(f"{own.relative_to(out).as_posix()}: removed")
    return done


def _named_after(path: Path, out: Path, traces: Traces) -> Path | None:
    """The file, or the highest folder that it lies in, that bears the key of a withdrawn sample."""
    parts = [part for part in (path, *path.parents) if part != out and part.is_relative_to(out)]
    return next((part for part in reversed(parts) if belongs(part.name, traces.prefixes)), None)


def _clear(path: Path, traces: Traces, finder: Finder, derived: bool) -> list[str]:
    if path.is_symlink() or not search_file(path, finder, Proof()):
        return []
    done: list[str] = []
    if path.suffix == ".parquet":
        try:
            done.append(f"{filter_table(path, traces)} rows removed")
        except pa.ArrowException:
            done.append("not a readable table")
    elif path.suffix in (".jsonl", ".csv", ".tsv"):
        done.append(f"{filter_lines(path, finder)} lines removed")
    elif path.suffix == ".tar":
        before = len(keys_of(path))
        done.append(f"{before - rewrite(path, traces.prefixes).samples} samples removed")
    if derived and path.exists() and search_file(path, finder, Proof()):
        path.unlink()
        return ["removed; it is made anew when it is needed"]
    return done
