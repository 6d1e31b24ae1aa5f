"""The same person is found among many, exactly and in cells."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.audit import identities
from pipelines.audit.identities import Links, cluster, number_by_appearance


def faces(people: int, clips: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors (people * clips, 512) whose cosine is about 0.6 within a person, and who is who."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(people), clips)

    def unit(x: np.ndarray) -> np.ndarray:
        return x / np.linalg.norm(x, axis=-1, keepdims=True)

    codes = unit(rng.normal(size=(people, 512)))[who] + 0.8 * unit(rng.normal(size=(len(who), 512)))
    order = rng.permutation(len(who))
    return unit(codes)[order].astype(np.float32), who[order]


def test_every_person_is_one_cluster():
    vectors, who = faces(40, 5)
    assert (cluster(vectors) == number_by_appearance(who)).all()


def test_cells_find_what_all_pairs_find(monkeypatch: pytest.MonkeyPatch):
    vectors, who = faces(300, 5)
    monkeypatch.setattr(identities, "EXACT_UP_TO", 100)
    assert (cluster(vectors) == number_by_appearance(who)).mean() > 0.98


def test_nobody_is_no_cluster():
    assert cluster(np.zeros((0, 512), np.float32)).shape == (0,)


def test_strangers_stay_apart():
    vectors, _ = faces(200, 1)
    assert len(set(cluster(vectors).tolist())) == 200


@given(st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=40))
def test_links_make_the_same_groups_in_one_go_and_bit_by_bit(pairs: list[tuple[int, int]]):
    rows, columns = (np.array(side, np.int64) for side in (zip(*pairs) if pairs else ((), ())))
    at_once, step_by_step = Links(20), Links(20)
    at_once.add(rows, columns)
    for row, column in zip(rows, columns):
        step_by_step.add(np.array([row]), np.array([column]))
        step_by_step.labels()
    assert (number_by_appearance(at_once.labels()) == number_by_appearance(step_by_step.labels())).all()
