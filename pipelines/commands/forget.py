"""`vividpose forget`: withdraw a source, a person or an uploader from a dataset, and prove it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.commands import Commands
from pipelines.commands.local_folder import local_folder
from pipelines.commands.tell import tell

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.audit.forget import Withdrawal


def add(commands: Commands) -> None:
    forget = commands.add_parser(
        "forget",
        help="withdraw a source, a person or an uploader from a dataset",
        description="Remove a source, every source with one person in it, or everything of one uploader from shards, "
        "work folder, caches, latents and audit; keep it from coming back; search every byte for what is left. "
        "Without --source, --identity or --uploader it finishes a withdrawal that was interrupted.",
        epilog="exit codes: 0 nothing is left; 1 an error, or something is left (it is listed). See docs/forget.md",
    )
    forget.add_argument("out", help="an output folder of `vividpose shards`")
    what = forget.add_mutually_exclusive_group()
    what.add_argument("--source", metavar="PATH|SHA256|URL|KEY", help="one source, however it is named")
    what.add_argument("--identity", metavar="NUMBER|KEY", help="a person of the audit, or the person in a clip")
    what.add_argument("--uploader", metavar="NAME", help="everything of an uploader, also what comes later")
    what.add_argument("--where", action="store_true", help="only list where face embeddings are stored")
    what.add_argument("--drop-embeddings", action="store_true", help="take all face embeddings out, keep the clips")
    forget.add_argument("--reason", help="goes into the tombstone: a ticket, not a name")
    forget.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    forget.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from rich.console import Console

    from pipelines.audit.forget import Request, forget
    from pipelines.audit.forget_select import NotFound
    from pipelines.audit.forget_shards import DamagedShard
    from pipelines.audit.tombstones import BadTombstones
    from pipelines.engine.atomic import DiskFull
    from pipelines.engine.run_lock import BadOutput, Busy
    from pipelines.settings import BadSettings

    console = Console()
    errors = Console(stderr=True)
    request = Request(options.reason or "", options.source, options.identity, options.uploader)
    if request.kind and not options.reason and not options.dry_run:
        tell(errors, "error: say why with --reason: it stays in the tombstone when all else is gone", style="red")
        return 1
    try:
        out = local_folder(options.out)
        if not out.is_dir():
            raise NotFound(f"{out} is not there")
        if options.where:
            return _where(console, out)
        if options.drop_embeddings:
            return _drop(console, out)
        result = forget(out, request, dry_run=options.dry_run, tell=lambda line: tell(errors, line))
    except DiskFull as error:
        tell(errors, f"error: {error}", style="red")
        return 3
    except (BadOutput, BadSettings, BadTombstones, Busy, DamagedShard, NotFound) as error:
        tell(errors, f"error: {error}", style="red")
        return 1
    return _show(console, out, result)


def _where(console: Console, out: Path) -> int:
    from pipelines.audit.forget_embeddings import find_embeddings

    vectors = 0
    for place in find_embeddings(out):
        tell(console, f"{place.path.relative_to(out)}: {place.vectors} face vectors of {place.clips} clips")
        vectors += place.vectors
    tell(console, f"{vectors} face vectors in all" if vectors else "no face embeddings are stored under this folder")
    return 0


def _drop(console: Console, out: Path) -> int:
    from pipelines.audit.forget_embeddings import drop_embeddings, find_embeddings

    changed = drop_embeddings(out)
    left = sum(1 for _ in find_embeddings(out))
    tell(console, f"{len(changed)} files rewritten without face embeddings; {left} files still hold some")
    return 1 if left else 0


def _show(console: Console, out: Path, result: Withdrawal) -> int:
    from pipelines.audit.forget import originals

    for facts in result.sources:
        tell(console, f"source {facts.sha256[:16]}  {', '.join(sorted(facts.paths))}")
    for name, keys in result.shards.items():
        tell(console, f"shards/{name}: {', '.join(keys)}")
    amount = f"{len(result.sources)} sources with {result.clips} clips in {len(result.shards)} shards"
    proof = result.proof
    if proof is None:
        tell(console, f"would withdraw {amount}")
        return 0
    for line in result.done:
        tell(console, line)
    tell(console, f"withdrawn: {amount}")
    for path in originals(result.sources, out):
        tell(console, f"note: the original {path} lies outside the dataset and is still there")
    for where in proof.closed:
        tell(console, f"note: {where}")
    for where, what in proof.found:
        tell(console, f"STILL THERE: {where}: {what}", style="red")
    tell(
        console,
        f"proof: {proof.files} files, {proof.bytes} bytes searched, {proof.unpacked} bytes unpacked and searched, "
        f"{proof.members} tar members compared: {'nothing is left' if proof.clean else f'{len(proof.found)} traces'}",
    )
    return 0 if proof.clean else 1
