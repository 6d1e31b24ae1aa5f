"""How well an audit found what was planted: precision and recall per check, with the misses named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Set
from dataclasses import dataclass
from pathlib import Path

import duckdb

from pipelines.audit.planted import Truth
from pipelines.audit.schema import CLIPS, PAIRS, audit_folder

FLAGS = ("cut_inside", "frozen", "crowd", "unknown_licence", "corrupt", "left_right_swap")


@dataclass(frozen=True)
class Score:
    """planted, found, right: numbers. missed, wrong: what was not found, and what was found and not planted."""

    check: str
    planted: int
    found: int
    right: int
    missed: tuple[str, ...]
    wrong: tuple[str, ...]

    @property
    def recall(self) -> float:
        return self.right / self.planted if self.planted else 1.0

    @property
    def precision(self) -> float:
        return self.right / self.found if self.found else 1.0


def score_audit(out: Path, truth: Truth) -> list[Score]:
    """Duplicates are scored by pairs, leaks by people, all else by clips."""
    folder = audit_folder(out)
    connection = duckdb.connect()
    pairs = connection.execute("select a, b, kind from read_parquet(?)", [str(folder / PAIRS)]).fetchall()
    clips = connection.execute(
        "select key, flags, identity, identity_leak from read_parquet(?) where state = 'kept'", [str(folder / CLIPS)]
    ).fetchall()
    planted_near = {frozenset((a, b)) for kind, a, b in truth.pairs if kind != "exact"}
    planted_exact = {frozenset((a, b)) for kind, a, b in truth.pairs if kind == "exact"}
    kinds = {frozenset((a, b)): kind for kind, a, b in truth.pairs}
    found_near = {frozenset((a, b)) for a, b, kind in pairs if kind == "near"}
    found_exact = {frozenset((a, b)) for a, b, kind in pairs if kind.startswith("same")}

    def told(pair: Hashable) -> str:
        assert isinstance(pair, frozenset)
        return f"{kinds.get(pair, 'no pair')} {' '.join(sorted(pair))}"

    scores = [
        _score("exact_duplicate", planted_exact, found_exact, told),
        _score("near_duplicate", planted_near, found_near, told),
    ]
    for flag in FLAGS:
        scores.append(_score(flag, truth.faults.get(flag, set()), {key for key, flags, *_ in clips if flag in flags}))
    scores.append(_score("identity_leak", truth.leaking, _leaking_people(clips, truth), lambda n: f"person {n}"))
    return scores


def _leaking_people(clips: list[tuple], truth: Truth) -> set[int]:
    """The people behind the clusters that leak; a cluster stands for the person most of its clips show."""
    members: dict[int, Counter[int]] = {}
    leaking = {identity for _, _, identity, leak in clips if leak}
    for key, _, identity, _ in clips:
        if identity in leaking:
            members.setdefault(identity, Counter())[truth.person[key]] += 1
    return {people.most_common(1)[0][0] for people in members.values()}


def _score(check: str, planted: Set, found: Set, told=str) -> Score:
    missed, wrong = (tuple(sorted(map(told, each))) for each in (planted - found, found - planted))
    return Score(check, len(planted), len(found), len(planted & found), missed, wrong)
