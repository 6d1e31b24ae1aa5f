"""`vividpose doctor`: what is installed, which weights lie where, what each stage would get and why, what lacks."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipelines.annotate.choice import choose, missing_for_full
from pipelines.weights import search_folders
from pipelines.weights_fetch import Row, list_weights

PACKAGES = (
    "torch",
    "ray",
    "webdataset",
    "av",
    "decord",
    "onnxruntime",
    "onnxruntime-gpu",
    "opencv-python-headless",
    "scenedetect-headless",
    "smplx",
    "numba",
    "pyrender",
    "numpy",
    "pyarrow",
    "insightface",
    "diffusers",
    "deepspeed",
)
OPTIONAL = {"onnxruntime-gpu", "decord", "pyrender", "insightface", "diffusers", "deepspeed"}


def wide_console() -> Console:
    """The terminal as it is; into a pipe, lines long enough for the tables."""
    return Console(width=None if sys.stdout.isatty() else 180)


def examine(console: Console | None = None) -> int:
    """Print the report. Returns 0 when the `lite` profile can run here, else 1."""
    console = console or wide_console()
    problems = _machine(console)
    problems += _packages(console)
    show_weights(console, list_weights())
    problems += _stages(console)
    missing = missing_for_full()
    if missing:
        console.print("Missing for the profile `full`:")
        for line in missing:
            console.print(Text(f"  {line}"))
        folders = ", ".join(map(str, search_folders()))
        console.print(Text(f"Looked for in: {folders}, the Hugging Face cache ($VIVIDPOSE_WEIGHTS adds more)"))
    for problem in problems:
        console.print(Text(f"problem: {problem}", style="red"))
    console.print("The profile `lite` " + ("cannot run yet." if problems else "can run."))
    return 1 if problems else 0


def _machine(console: Console) -> list[str]:
    memory = psutil.virtual_memory().total / 2**30
    disk = shutil.disk_usage(Path.cwd()).free / 2**30
    console.print(
        f"Python {platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores, "
        f"{memory:.1f} GiB memory, {disk:.0f} GiB free here",
        highlight=False,
    )
    return [] if sys.version_info >= (3, 11) else ["Python 3.11 or newer is needed"]


def _packages(console: Console) -> list[str]:
    problems = []
    table = Table(title="Packages", title_justify="left")
    table.add_column("package")
    table.add_column("version")
    for name in PACKAGES:
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            version = "not installed" + (" (optional)" if name in OPTIONAL else "")
            if name not in OPTIONAL:
                problems.append(f"the package {name} is not installed: run `make setup`")
        table.add_row(name, version)
    console.print(table)
    if not problems:
        import onnxruntime
        import torch

        providers = onnxruntime.get_available_providers()
        console.print(f"onnxruntime providers: {', '.join(providers)}", highlight=False)
        cuda = torch.cuda.is_available()
        console.print(f"torch: {torch.cuda.get_device_name(0) if cuda else 'no GPU, CPU only'}", highlight=False)
        if cuda and "CUDAExecutionProvider" not in providers:
            console.print(Text("onnxruntime cannot use the GPU: see docs/operations.md, 'GPU'", style="yellow"))
    return problems


def show_weights(console: Console, rows: Sequence[Row]) -> None:
    """Print a table of weight files: what for, licence, size, and whether they are here."""
    table = Table(title="Weights", title_justify="left")
    for column in ("file", "stage", "profile", "licence", "commercial use", "MB", "here"):
        table.add_column(column, overflow="fold", justify="right" if column == "MB" else "left")
    for row in rows:
        weight = row.weight
        size = row.path.stat().st_size if row.path else row.source.bytes if row.source else None
        where = str(row.path) if row.state == "found" else row.state
        table.add_row(
            weight.name,
            weight.role,
            weight.profile,
            weight.licence,
            "yes" if weight.commercial else "no",
            f"{size / 1e6:.1f}" if size else "",
            Text(f"{where} {row.note}".rstrip(), style="yellow" if row.note else ""),
        )
    console.print(table)


def _stages(console: Console) -> list[str]:
    table = Table(title="What each stage would get (profile auto)", title_justify="left")
    for column in ("stage", "estimator", "why"):
        table.add_column(column, overflow="fold")
    try:
        choices = choose("auto")
    except RuntimeError as error:
        return [str(error)]
    for choice in choices:
        table.add_row(choice.role, choice.told, choice.why)
    console.print(table)
    return []
