"""The paper's ablation on the benchmark with ground truth, from nothing to a table.

    OMP_NUM_THREADS=1 python -m train.ablation --out runs/ablation --minutes 45

Killed and started again it goes on where it was. docs/ablation.md says what the table proves and what it does not.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from pipelines.engine.atomic import DiskFull, write_whole
from pipelines.settings import BadSettings, build, load_yaml, with_overrides
from train.ablation.settings import AblationSettings


def main(arguments: Sequence[str] | None = None) -> int:
    """0 fine; 1 an error, told in a line; 130 interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m train.ablation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the ablation: data, runs, table")
    parser.add_argument("--config", type=Path, help="a YAML file of settings, see train/ablation/settings.py")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--minutes", type=float, help="of training; steps follow from how fast the machine is")
    budget.add_argument("--steps", type=int, help="of each variant, after the common ones")
    parser.add_argument("--seeds", type=int, help="how many runs of each variant (default: 2)")
    parser.add_argument("--set", action="append", default=[], metavar="A.B=VALUE", help="one setting; may be repeated")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("--time", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", force=True)
    if options.minutes is not None and options.minutes <= 0:
        parser.error(f"--minutes: expected more than 0, got {options.minutes:g}")
    try:
        return _run(options)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where it was", file=sys.stderr)
        return 130
    except _errors() as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _run(options: argparse.Namespace) -> int:
    from train.ablation.fit import RunName
    from train.ablation.run import run_ablation, seconds_per_step, work

    if options.run:
        work(options.out, RunName.parse(options.run))
        return 0
    if options.time:
        write_whole(options.time, json.dumps(seconds_per_step(options.out)).encode())
        return 0
    data = load_yaml(options.config) if options.config else {}
    for name in ("steps", "seeds"):
        if getattr(options, name) is not None:
            data[name] = getattr(options, name)
    settings = build(AblationSettings, with_overrides(data, options.set))
    table = run_ablation(options.out, settings, options.minutes)
    print(table.read_text(encoding="utf-8"))
    return 0


def _errors() -> tuple[type[Exception], ...]:
    from model.config import BadConfig
    from model.weight_files import BadFolder
    from pipelines.shard_format import BadSample
    from train.ablation.clips import BadTruth
    from train.ablation.data import CommandFailed
    from train.checkpoint import BadCheckpoint
    from train.guards import TrainingFailed
    from train.stream.dataset import BadDataset

    return (
        BadCheckpoint, BadConfig, BadDataset, BadFolder, BadSample, BadSettings, BadTruth, CommandFailed, DiskFull,
        FileExistsError, NotADirectoryError, PermissionError, TrainingFailed,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
