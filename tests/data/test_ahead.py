import threading
import time

import pytest
import torch

from surefoot.data.ahead import Ahead
from surefoot.errors import DataError, Problem
from surefoot.model.batch import Batch


def batch(step: int) -> Batch:
    row = torch.full((1, 2), step)
    return Batch(tokens=row, targets=row)


class Drawer:
    """Draws batches, remembers which, and fails where it is told to."""

    def __init__(self, broken: int = 0) -> None:
        self.drawn: list[int] = []
        self.broken = broken

    def __call__(self, step: int) -> Batch:
        self.drawn.append(step)
        if step == self.broken:
            raise DataError(Problem("shard", "", "it is gone", "Put it back"))
        return batch(step)


def until(condition, seconds: float = 5.0) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.001)
    return condition()


def first(found: Batch) -> int:
    return int(found.tokens[0, 0])


def test_batches_come_in_order_and_no_more_than_two_are_drawn_ahead():
    draw = Drawer()
    ahead = Ahead(draw)
    assert [first(ahead.get(step)) for step in range(1, 6)] == [1, 2, 3, 4, 5]
    assert until(lambda: draw.drawn == [1, 2, 3, 4, 5, 6, 7])
    time.sleep(0.02)
    assert draw.drawn == [1, 2, 3, 4, 5, 6, 7]
    ahead.close()


def test_going_back_or_forth_begins_anew_there():
    ahead = Ahead(Drawer())
    assert [first(ahead.get(step)) for step in (5, 6, 2, 3, 90)] == [5, 6, 2, 3, 90]
    ahead.close()


def test_an_error_surfaces_at_the_step_that_needs_the_batch_and_not_before():
    draw = Drawer(broken=3)
    ahead = Ahead(draw)
    assert first(ahead.get(1)) == 1
    assert until(lambda: 3 in draw.drawn)
    assert first(ahead.get(2)) == 2
    with pytest.raises(DataError, match="it is gone"):
        ahead.get(3)
    draw.broken = 0
    assert first(ahead.get(3)) == 3
    ahead.close()


def test_clearing_throws_away_what_was_drawn_under_other_skips():
    skips = [0]
    ahead = Ahead(lambda step: batch(step + skips[0]))
    assert first(ahead.get(1)) == 1
    assert until(lambda: len(ahead.ready) == 2)
    skips[0] = 100
    ahead.clear()
    assert first(ahead.get(2)) == 102
    ahead.close()


def test_a_batch_in_the_making_is_thrown_away_too():
    go, skips = threading.Event(), [0]

    def slow(step: int) -> Batch:
        now = skips[0]
        if step == 2 and not now:
            go.wait(5)
        return batch(step + now)

    ahead = Ahead(slow)
    ahead.get(1)
    skips[0] = 100
    ahead.clear()
    go.set()
    assert first(ahead.get(2)) == 102
    ahead.close()


def test_closing_ends_the_thread():
    ahead = Ahead(Drawer())
    ahead.get(1)
    ahead.close()
    assert not ahead.thread.is_alive()
    Ahead(Drawer()).close()
