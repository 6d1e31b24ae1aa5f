"""`vividpose audit`: what is in a dataset, what is wrong with it, what may be used. `vividpose audit diff A B`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.commands import Commands
from pipelines.commands.local_folder import local_folder
from pipelines.commands.tell import tell

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.audit.run import AuditOptions


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise argparse.ArgumentTypeError(f"expected a whole number from 0, got {text!r}")
    return int(text)


def _port(text: str) -> int:
    if _number(text) > 65535:
        raise argparse.ArgumentTypeError(f"expected a port from 0 to 65535, got {text!r}")
    return int(text)


def add(commands: Commands) -> None:
    audit = commands.add_parser(
        "audit",
        help="look through a dataset: faults, duplicates, leaks, licences, people",
        description="Audit an output folder of `vividpose shards`: OUT/audit gets the tables and a page, "
        "OUT/decisions.parquet what the trainer obeys. Only what is new is measured. "
        "`vividpose audit diff A B` compares two audited datasets.",
        epilog="exit codes: 0 fine; 1 an error, or sums that do not balance; 2 a finding of --fail-on; 3 disk full",
    )
    audit.add_argument("out", nargs="+", metavar="OUT", help="the dataset; or: diff A B")
    audit.add_argument("--rules", type=Path, help="a rule file (default: the one that ships)")
    audit.add_argument("--fail-on", default="", metavar="A,B", help="exit with 2 when there are such findings")
    audit.add_argument("--executor", choices=("inline", "ray"), default="inline", help="default: inline")
    audit.add_argument("--benchmark-hashes", type=Path, nargs="+", default=[], metavar="FILE",
                       help="audit/fingerprints.parquet of test sets that must not be in the dataset")  # fmt: skip
    audit.add_argument("--classifier", metavar="MODULE:NAME", help="of possible minors and nudity; see docs/audit.md")
    audit.add_argument("--no-page", action="store_true", help="write the tables only")
    audit.add_argument("--previews", type=_number, metavar="N",
                       help="at most so many clips get a picture and a film on the page (default: 300)")  # fmt: skip
    audit.add_argument(
        "--show-faces", action="store_true", help="previews without blur: faces and other people are seen"
    )
    audit.add_argument("--serve", action="store_true", help="serve the page on this machine, to take decisions")
    audit.add_argument("--port", type=_port, help="for --serve (default: 8765; 0 takes a free one)")
    audit.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from rich.console import Console

    from pipelines.audit.base import NotADataset
    from pipelines.engine.atomic import DiskFull
    from pipelines.engine.executors import Infeasible, NoCluster
    from pipelines.engine.run_lock import BadOutput, Busy
    from pipelines.engine.setup_error import SetupError
    from pipelines.settings import BadSettings

    console = Console(stderr=True)
    try:
        if options.out[0] == "diff":
            return _diff(options.out[1:])
        if len(options.out) != 1:
            raise BadSettings(f"one dataset expected, got {len(options.out)}; to compare: vividpose audit diff A B")
        if options.port is not None and not options.serve:
            raise BadSettings("--port is the port of the served page: give --serve as well")
        if options.no_page and (options.previews is not None or options.show_faces):
            raise BadSettings("--no-page makes no previews: leave out --previews and --show-faces, or --no-page")
        return _audit(local_folder(options.out[0]), options, console)
    except DiskFull as error:
        tell(console, f"error: {error}", style="red")
        return 3
    except (BadOutput, BadSettings, Busy, Infeasible, NoCluster, NotADataset, SetupError) as error:
        tell(console, f"error: {error}", style="red")
        return 1


def _audit(out: Path, options: argparse.Namespace, console: Console) -> int:
    from rich.console import Console as Output

    from pipelines.audit.findings import check_names, failing
    from pipelines.audit.report import show_summary
    from pipelines.audit.rules import DEFAULT_RULES, rule_names
    from pipelines.audit.run import AuditOptions, run_audit

    names = [name.strip() for name in options.fail_on.split(",") if name.strip()]
    chosen = AuditOptions(
        rules=options.rules or DEFAULT_RULES,
        executor=options.executor,
        benchmarks=tuple(options.benchmark_hashes),
        classifier=options.classifier,
    )
    check_names(names, rule_names(chosen.rules))
    summary = _measured(out, chosen, console, run_audit)
    show_summary(summary, Output())
    found = failing(out, summary, names)
    for finding in found:
        told = finding.told or f"{finding.clips} clips: {', '.join(finding.keys)}"
        tell(console, f"fail: {finding.name}: {told}{' ...' if finding.clips > len(finding.keys) > 0 else ''}", "red")
    if not options.no_page:
        _page(out, options, console)
    if options.serve:
        from pipelines.audit.serve import PORT, serve

        serve(out, PORT if options.port is None else options.port)
    if found:
        return 2
    return 0 if summary["balanced"] else 1


def _page(out: Path, options: argparse.Namespace, console: Console) -> None:
    from rich.progress import Progress

    from pipelines.audit.page import build_page
    from pipelines.audit.previews import LIMIT

    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("audit: previews", total=None)
        page = build_page(
            out,
            previews=LIMIT if options.previews is None else options.previews,
            show_faces=options.show_faces,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    tell(console, f"page: {page}")
    if options.show_faces:
        tell(console, "its previews show faces: keep the folder as you keep the dataset; without --show-faces they are "
             "made anew, blurred", "yellow")  # fmt: skip


def _measured(out: Path, chosen: AuditOptions, console: Console, run_audit: Any) -> dict[str, Any]:
    from rich.progress import Progress

    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("audit: shards", total=None)
        return run_audit(out, chosen, lambda done, total: progress.update(task, completed=done, total=total))


def _diff(folders: list[str]) -> int:
    from rich.console import Console

    from pipelines.audit.diff import compare_audits
    from pipelines.audit.report import show_diff
    from pipelines.settings import BadSettings

    if len(folders) != 2:
        raise BadSettings(f"`vividpose audit diff` wants two audited datasets, got {len(folders)}")
    show_diff(compare_audits(local_folder(folders[0]), local_folder(folders[1])), Console())
    return 0
