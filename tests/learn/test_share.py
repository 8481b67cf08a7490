"""Shares of a step: every micro-batch is somebody's, and the sum's tree is one for all ranks."""

import random

import pytest

from surefoot.learn.share import Share, Tree


def summed(values: list[float], ranks: int, lanes: int) -> float:
    """Add numbers up as the ranks of a run do, one after the other in this process."""
    parts: list[float] = []
    for rank in range(ranks):
        share = Share(rank, ranks, lanes)
        tree = Tree[float](float.__add__)
        for lane in share.by_lane(share.own(values), len(values)):
            total = 0.0
            for _, value in lane:
                total += value
            tree.add(total)
        parts.append(tree.total())
    while len(parts) > 1:  # as Reduction.exact does
        parts = [a + b for a, b in zip(parts[0::2], parts[1::2], strict=True)]
    return parts[0]


def test_every_micro_batch_is_one_ranks_own_in_order() -> None:
    for ranks in (1, 2, 3, 6):
        owned = [one for rank in range(ranks) for one in Share(rank, ranks, ranks).own("abcdef")]
        assert owned == list(enumerate("abcdef"))


def test_the_sum_has_the_same_bits_for_every_number_of_ranks() -> None:
    draw = random.Random(3)
    values = [draw.uniform(-1, 1) * 10 ** draw.randint(-8, 8) for _ in range(16)]
    found = {summed(values, ranks, lanes=8) for ranks in (1, 2, 4, 8)}
    assert len(found) == 1
    ring = {summed(values, ranks, lanes=ranks) for ranks in (1, 2, 4, 8)}
    assert len(ring) > 1, "these numbers show no order of addition: draw others"


def test_one_lane_is_added_in_order() -> None:
    values = [1e16, 1.0, -1e16, 1.0]
    assert summed(values, 1, lanes=1) == sum(values) == 1.0
    assert summed(values, 1, lanes=2) == 0.0


@pytest.mark.parametrize("left", [[0, 1, 2, 3], [1, 2, 3], [3], [0, 3], [4, 5]])
def test_a_lane_that_lost_all_its_micro_batches_is_as_if_it_never_was(left: list[int]) -> None:
    share = Share(0, 1, 4)
    lanes = list(share.by_lane([(number, float(number)) for number in left], 8))
    assert [[number for number, _ in lane] for lane in lanes] == [
        lane for lane in ([n for n in left if n // 2 == k] for k in range(4)) if lane
    ]
