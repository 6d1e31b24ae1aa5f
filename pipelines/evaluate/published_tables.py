"""The tables that were published, as data files with their sources and what is known to be wrong with them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pipelines.settings import build, load_yaml

FOLDER = Path(__file__).parent / "published"


@dataclass(frozen=True)
class PublishedRow:
    """One method. values: by metric. doubts: metric -> what is odd about this number alone."""

    method: str
    source: str
    values: dict[str, float]
    doubts: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PublishedTable:
    """One table. faults: metric -> what is wrong with the whole column; the tables print a mark there."""

    name: str
    title: str
    dataset: str
    source: str
    protocol: str
    metrics: tuple[str, ...]
    faults: dict[str, str]
    rows: tuple[PublishedRow, ...]

    def marks(self, row: PublishedRow, metric: str) -> tuple[str, ...]:
        """What is known to be wrong with one number."""
        if metric not in row.values:
            return ()
        return tuple(told for told in (self.faults.get(metric), row.doubts.get(metric)) if told)


def published(dataset: str) -> list[PublishedTable]:
    """The tables on a dataset; none on one of the user's own. Raises BadSettings for a damaged file."""
    tables = [build(PublishedTable, load_yaml(path), path.name) for path in sorted(FOLDER.glob("*.yaml"))]
    order = {"tiktok": 0, "ubc": 1, "ablation": 2}
    tables.sort(key=lambda table: order.get(table.name, len(order)))
    return [table for table in tables if table.dataset == dataset]
