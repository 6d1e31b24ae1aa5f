"""How large the page of an audit is, how soon it can be used in Chromium, and how long each of its queries takes.

    python benchmarks/audit_page.py [--rows 3000 1000000] [--runs 5]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pipelines.audit.page import write_html
from pipelines.audit.page_queries import Tables
from pipelines.audit.synthetic import write_tables

CHROMIUM = "/usr/bin/chromium"
QUERIES: dict[str, Callable[[Tables], object]] = {
    "totals": Tables.totals,
    "flow": Tables.flow,
    "licence": lambda tables: tables.split_by("licence"),
    "uploader": lambda tables: tables.split_by("uploader"),
    "findings": Tables.findings,
    "histograms": Tables.histograms,
    "quantiles": Tables.quantiles,
    "joints": Tables.joints,
    "angles": Tables.angles,
    "identities": Tables.identities,
    "pairs": Tables.pairs,
    "leaks": Tables.leaks,
    "worst": Tables.worst,
    "sensitive": Tables.sensitive,
}


def usable_seconds(page: Path, runs: int) -> list[float]:
    """From the request of the page to the list of clips being there, in a fresh window each time."""
    from playwright.sync_api import sync_playwright

    seconds = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        for _ in range(runs):
            window = browser.new_page()
            start = time.perf_counter()
            window.goto(page.absolute().as_uri(), wait_until="commit")
            window.locator(".list .row").first.wait_for()
            seconds.append(time.perf_counter() - start)
            window.close()
        browser.close()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[3000, 1_000_000])
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    table = Table("rows", "page", "written in", "usable in, median (worst)", "slowest query", "all queries")
    for rows in options.rows:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder)
            write_tables(out, rows)
            tables = Tables(out)
            took = {}
            for name, query in QUERIES.items():
                start = time.perf_counter()
                query(tables)
                took[name] = time.perf_counter() - start
            start = time.perf_counter()
            page = write_html(out)
            written = time.perf_counter() - start
            seen = usable_seconds(page, options.runs)
            slowest = max(took, key=lambda name: took[name])
            table.add_row(
                f"{rows:,}",
                f"{page.stat().st_size / 1e6:.2f} MB",
                f"{written:.1f} s",
                f"{statistics.median(seen):.2f} s ({max(seen):.2f} s)",
                f"{slowest} {took[slowest]:.2f} s",
                f"{sum(took.values()):.1f} s",
            )
    Console().print(table)


if __name__ == "__main__":
    main()
