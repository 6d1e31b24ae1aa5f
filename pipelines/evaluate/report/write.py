"""All reports of one evaluation."""

from __future__ import annotations

from pathlib import Path

from pipelines.engine.atomic import write_whole
from pipelines.evaluate.report.csv_file import numbers_csv, videos_csv
from pipelines.evaluate.report.latex import latex
from pipelines.evaluate.report.markdown import markdown
from pipelines.evaluate.report.page import page
from pipelines.evaluate.report.tables import tables_of
from pipelines.evaluate.report.worst import write_worst
from pipelines.evaluate.run import Evaluation


def write_reports(done: Evaluation) -> dict[str, Path]:
    """Write table.md, table.csv, videos.csv, table.tex, index.html and worst/ into OUT. Returns their paths by name."""
    out, tables = done.request.out, tables_of(done)
    heading = f"{done.request.method} on {done.request.dataset}"
    cases = write_worst(done, out)
    texts = {
        "table.md": markdown(heading, tables, done.notes),
        "table.csv": numbers_csv(done),
        "videos.csv": videos_csv(done),
        "table.tex": latex(tables),
        "index.html": page(done, heading, tables, cases),
    }
    for name, text in texts.items():
        write_whole(out / name, text.encode())
    return {name: out / name for name in texts}
