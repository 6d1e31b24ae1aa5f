"""`vividpose doctor`: what is installed and what is missing."""

from __future__ import annotations

import argparse

from pipelines.commands import Commands


def add(commands: Commands) -> None:
    doctor = commands.add_parser(
        "doctor", help="what is installed, which weights are where, what each stage would get, what is missing"
    )
    doctor.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from pipelines.doctor import examine

    return examine()
