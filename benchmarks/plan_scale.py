"""The plan of a very large dataset: sources, lots, shards and manifest of up to ten million clips that were never made.

    python -m benchmarks.plan_scale [--clips 10000 100000 1000000 10000000] [--done 0.99] [--commits 2000]

Each size is a dataset of `clips / 10` sources whose finished lots have the tables that a run leaves. The code of a run
works on it in a process of its own; the ingest, the stages and the writing of shards are left out. Printed:

    first    planning the sources of a fresh dataset and sealing every lot's rows
    resume   with 99 % of the lots sealed: from the sources as they were found on the disk to the first row that a
             worker would get
    pack     planning shards for all kept clips, and what each is made of
    again    the same once more, as a run without news does it
    manifest writing manifest.parquet

in CPU seconds, which other work on the machine does not change, and

    peak     memory of that process; it holds the sources (twice while it compares them with the plan) and one wave

The commits of real units, eight processes at once, are measured on their own (--commits).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipelines.engine.ledger import Ledger, Outcome, Unit
from pipelines.engine.stage import run_unit
from pipelines.engine.storage import open_store
from pipelines.job.lots import LotTables, cut_lots
from pipelines.job.plan import Plan, SourcePlan, first_met, take_census
from pipelines.job.tables import Tables

PER_SOURCE = 10
SAMPLE_BYTES = 5_000_000
SHARD_BYTES = 256 << 20
STAGES = ("ingest", "people", "keypoints", "face", "body", "render", "quality")


def sources(count: int) -> Iterator[SourcePlan]:
    """Sources as `take_in` gives them."""
    for number in range(count):
        sha256 = hashlib.sha256(b"%d" % number).hexdigest()
        provenance = {
            "url": f"https://example.org/watch/{number}",
            "uploader": f"uploader {number % 9973}",
            "title": f"title of video {number}",
            "licence": "CC-BY-4.0",
            "date": "2024-05-01",
            "platform": "example",
        }
        name = f"{number:08d}.mp4"
        yield SourcePlan(f"/data/videos/{number % 1000:03d}/{name}", name, sha256, 9, provenance)


def rows_of(sha256: str) -> Iterator[dict[str, Any]]:
    """Rows of a source's clips, as `lot_rows` gives them; one in ten was dropped."""
    unit = hashlib.sha256(sha256.encode()).hexdigest()
    for number in range(PER_SOURCE):
        start = 200 * number
        kept = number != 7
        yield {
            "kind": "clip",
            "source_sha256": sha256,
            "key": f"{sha256[:16]}_{start:06d}",
            "state": "kept" if kept else "dropped",
            "stage": None if kept else "people",
            "reason": None if kept else "crowd",
            "message": None if kept else "7 people",
            "start_frame": start,
            "end_frame": start + 150,
            "frames": 150,
            "seconds": 6.0,
            "fps": 25.0,
            "width": 512,
            "height": 768,
            "scores": {"jitter": number / 7, "visible": 0.9, "reprojection": 3.0 + number},
            "bytes": SAMPLE_BYTES if kept else None,
            "clip_index": number,
            "ingest_unit": unit,
        }


def measure(clips: int, done: float, out: Path) -> dict[str, float]:
    """One size, in this process."""
    count = clips // PER_SOURCE
    work = out / "work"
    marks: dict[str, float] = {}
    start = time.process_time()

    def mark(name: str) -> None:
        nonlocal start
        now = time.process_time()
        marks[name] = now - start
        start = now

    plan = Plan(work)
    plan.add_sources(list(sources(count)))
    lots = cut_lots(list(first_met(plan.sources())))
    (out / "scratch").mkdir()
    kept = LotTables(open_store(work), "pipeline", out / "scratch")
    for lot in lots:
        kept.write(lot, [row for sha256 in lot.sources for row in rows_of(sha256)], seal=True)
        (out / "scratch" / f"{lot.id}.parquet").unlink()
    mark("first")

    for lot in lots[int(done * len(lots)) :]:
        kept.unseal(lot)
    # What a run does from its start to the first row, but for looking the sources up on the disk.
    found = list(sources(count))
    start = time.process_time()
    plan = Plan(work)
    planned, _ = plan.merge_sources(found)
    census = take_census(planned, found)
    lots = cut_lots([sha256 for sha256 in first_met(planned) if sha256 in census.unique])
    kept = LotTables(open_store(work), "pipeline", out / "scratch")
    ledger = Ledger(work)
    ledger.sweep()
    left = [lot for lot in lots if lot.id not in kept.sealed]
    for sha256 in left[0].sources if left else ():
        assert ledger.record("ingest", sha256) is None
    mark("resume")

    for lot in left:
        kept.write(lot, [row for sha256 in lot.sources for row in rows_of(sha256)], seal=True)
    start = time.process_time()
    for name in ("pack", "again"):
        folder = out / f"tables {name}"
        folder.mkdir()
        tables = Tables(folder, [kept.path(lot) for lot in lots])
        tables.add_census(census)
        before = sum(1 for _ in plan.each_shard())
        tables.add_planned(plan.each_shard())
        plan.add_free(tables.free(), SHARD_BYTES, before)
        if name == "pack":
            tables.add_planned(plan.each_shard())
        shards = tables.shards()
        mark(name)
        if name == "pack":
            tables.close()
    tables.add_packed(shards)
    tables.write_manifest(out / "manifest.parquet", [])
    mark("manifest")
    tables.close()
    marks["shards"] = len(shards)
    marks["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    marks["disk"] = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e6
    return marks


def _commit(work: str, numbers: range, run: str, ready: Any) -> None:
    ready.wait()
    for number in numbers:
        stage = STAGES[number % len(STAGES)]
        unit = Unit(stage, "1", hashlib.sha256(b"%d" % number).hexdigest(), str(number), {"config": {}}, {"n": number})

        def work_on(folder: Path) -> Outcome:
            (folder / "result.bin").write_bytes(b"x" * 3000)
            return Outcome(scores={"visible": 1.0}, frames=150)

        run_unit(Ledger(work), unit, run, work_on)


def commits(count: int, writers: int, out: Path) -> float:
    """Units a second that `writers` processes commit to one ledger at once."""
    share = count // writers
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(writers + 1)
    processes = [
        context.Process(target=_commit, args=(str(out), range(n * share, (n + 1) * share), f"run-{n}", ready))
        for n in range(writers)
    ]
    for process in processes:
        process.start()
    ready.wait()
    start = time.monotonic()
    for process in processes:
        process.join()
    seconds = time.monotonic() - start
    assert sum(len(list(Ledger(out).records(stage))) for stage in STAGES) == share * writers
    return share * writers / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--done", type=float, default=0.99)
    parser.add_argument("--commits", type=int, default=2000)
    parser.add_argument("--folder", type=Path, help="where to work (default: the temporary folder)")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.clips[0], options.done, options.one)))
        return
    columns = ("first", "resume", "pack", "again", "manifest")
    print(f"{'clips':>10} {'sources':>9} {'shards':>7} " + " ".join(f"{name:>10}" for name in columns), end="")
    print(f" {'peak MiB':>9} {'disk MB':>8}")
    for clips in options.clips:
        out = Path(tempfile.mkdtemp(prefix="plan-scale.", dir=options.folder))
        try:
            size = ["--clips", str(clips), "--done", str(options.done), "--one", str(out)]
            command = [sys.executable, "-m", "benchmarks.plan_scale", *size]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                sys.exit(done.stderr)
            marks = json.loads(done.stdout.splitlines()[-1])
        finally:
            shutil.rmtree(out)
        print(f"{clips:>10} {clips // PER_SOURCE:>9} {marks['shards']:>7.0f} ", end="")
        print(" ".join(f"{marks[name]:>10.2f}" for name in columns), end="")
        print(f" {marks['peak']:>9.0f} {marks['disk']:>8.0f}", flush=True)
    if options.commits:
        for writers in (1, 8):
            out = Path(tempfile.mkdtemp(prefix="plan-scale.", dir=options.folder))
            try:
                print(f"{commits(options.commits, writers, out):.0f} commits/s with {writers} writers")
            finally:
                shutil.rmtree(out)


if __name__ == "__main__":
    main()
