"""Work that overlaps: in order, bounded, and with its errors carried over."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from pipelines.animate.ahead import Ahead, Behind


def test_items_come_in_order_and_only_so_many_are_made_ahead():
    made: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            yield number

    ahead = Ahead(items(), depth=4)
    iterator = iter(ahead)
    first = [next(iterator) for _ in range(10)]
    assert first == list(range(10))
    assert len(made) <= 10 + 4 + 2
    ahead.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "ahead"]


def test_an_error_of_the_maker_comes_out_where_it_is_waited_for():
    def items() -> Iterator[int]:
        yield 1
        raise KeyError("broken")

    iterator = iter(Ahead(items()))
    assert next(iterator) == 1
    with pytest.raises(KeyError, match="broken"):
        next(iterator)


def test_everything_is_used_in_order_before_the_block_ends():
    used: list[int] = []
    with Behind(used.append, depth=2) as behind:
        for number in range(50):
            behind.put(number)
    assert used == list(range(50))


def test_an_error_of_the_user_ends_the_block():
    def use(number: int) -> None:
        if number == 3:
            raise OSError("disk")

    def put_all() -> None:
        with Behind(use, depth=1) as behind:
            for number in range(50):
                behind.put(number)

    with pytest.raises(OSError, match="disk"):
        put_all()


def test_an_error_in_the_block_is_not_held_up():
    def fail() -> None:
        with Behind(lambda item: None) as behind:
            behind.put(1)
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        fail()
