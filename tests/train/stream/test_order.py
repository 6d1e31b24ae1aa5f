"""The global order: every sample once an epoch, near samples in few shards, any position found on its own."""

from __future__ import annotations

import pickle
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from train.stream.order import BLOCK, EpochOrder, GlobalOrder, MixtureChoice, rank_positions, shares

COUNTS = st.lists(st.integers(0, 9), min_size=1, max_size=12).filter(lambda counts: sum(counts) > 0)


@settings(max_examples=60, deadline=None)
@given(COUNTS, st.integers(1, 40), st.integers(0, 5))
def test_an_epoch_holds_each_sample_once(counts: list[int], window: int, epoch: int):
    order = EpochOrder(np.array(counts), 3, "d", window)
    seen = Counter(order.at(epoch, offset) for offset in range(order.total))
    assert seen == {(shard, n): 1 for shard, count in enumerate(counts) for n in range(count)}


@settings(max_examples=30, deadline=None)
@given(COUNTS, st.integers(1, 40), st.integers(0, 10**6))
def test_a_position_is_found_without_those_before_it(counts: list[int], window: int, position: int):
    def fresh() -> GlobalOrder:
        return GlobalOrder([EpochOrder(np.array(counts), 3, "d", window)], MixtureChoice([1], 3, "m"))

    order = fresh()
    walked = [order.at(p) for p in range(position, position + 5)]
    assert [fresh().at(p) for p in range(position, position + 5)] == walked


def test_epochs_seeds_and_datasets_have_orders_of_their_own():
    def walk(seed: int, name: str, epoch: int) -> tuple[tuple[int, int], ...]:
        order = EpochOrder(np.array([50, 50, 50]), seed, name, 64)
        return tuple(order.at(epoch, offset) for offset in range(150))

    assert len({walk(0, "a", 0), walk(0, "a", 1), walk(1, "a", 0), walk(0, "b", 0)}) == 4


def test_a_window_of_the_order_needs_few_shards():
    order = EpochOrder(np.full(1000, 50), 0, "d", 200)
    for start in range(0, 50_000, 10_000):
        assert len({order.at(0, offset)[0] for offset in range(start, start + 200)}) <= 5


def test_shards_are_in_another_order_than_on_disk():
    order = EpochOrder(np.full(100, 10), 0, "d", 10)
    firsts = [order.at(0, offset)[0] for offset in range(0, 1000, 10)]
    assert abs(np.corrcoef(firsts, np.arange(100))[0, 1]) < 0.35


def test_ten_million_samples_need_no_list_of_samples():
    order = EpochOrder(np.full(60_000, 170), 0, "d", 2048)
    assert len({order.at(7, offset) for offset in range(5_000_000, 5_000_100)}) == 100
    assert len(pickle.dumps(order)) < 1 << 20


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0.001, 1000), min_size=1, max_size=20))
def test_shares_sum_up_and_follow_the_weights(weights: list[float]):
    parts = shares(weights, BLOCK)
    assert parts.sum() == BLOCK
    assert parts.min() >= 1
    exact = np.array(weights) / sum(weights) * BLOCK
    # One goes to the largest remainders; those that would get none take one from the largest.
    near_largest = parts >= parts.max() - len(weights)
    assert (np.abs(parts - exact) <= 1 + len(weights) * near_largest).all()


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=2, max_size=5), st.integers(0, 3 * BLOCK))
def test_a_mixture_counts_each_dataset_without_gaps(weights: list[int], start: int):
    choice = MixtureChoice(weights, 1, "m")
    following = list(choice.read(start))
    for position in range(start, start + 200):
        dataset, own = choice.at(position)
        assert own == following[dataset]
        following[dataset] += 1


def test_a_mixture_keeps_its_proportions_in_every_block():
    choice = MixtureChoice([3, 1], 0, "m")
    for block in range(2):
        counted = Counter(choice.at(block * BLOCK + p)[0] for p in range(BLOCK))
        assert counted == {0: BLOCK * 3 // 4, 1: BLOCK // 4}


def test_orders_survive_the_way_into_a_worker():
    order = GlobalOrder(
        [EpochOrder(np.array([5, 9]), 1, "a", 4), EpochOrder(np.array([7]), 1, "b", 4)],
        MixtureChoice([0.3, 0.7], 1, "m"),
    )
    again = pickle.loads(pickle.dumps(order))  # noqa: S301
    assert [order.at(p) for p in range(300)] == [again.at(p) for p in range(300)]


def test_the_next_after_the_last_of_an_epoch_is_its_first():
    order = GlobalOrder([EpochOrder(np.array([3, 2]), 1, "a", 4)], MixtureChoice([1], 1, "m"))
    last = order.at(4)
    assert order.after(last, 1) == order.at(0)
    assert order.after(order.at(5), 5) == order.at(5)


@pytest.mark.parametrize("world", [1, 2, 3, 4])
def test_ranks_share_a_global_batch(world: int):
    parts = [rank_positions(100, 2, rank, world, 6) for rank in range(world)]
    assert sorted(p for part in parts for p in part) == list(range(100 + 12 * world, 100 + 18 * world))
    assert all(len(part) == 6 for part in parts)


@pytest.mark.parametrize("weights", [[], [0.0], [1, -1]])
def test_weights_that_are_none_are_refused(weights: list[float]):
    with pytest.raises(ValueError, match="above 0"):
        MixtureChoice(weights, 0, "m")
