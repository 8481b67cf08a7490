"""Which number of threads the timed steps choose."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from surefoot.run import measuring


def took(seconds: float) -> Any:
    return SimpleNamespace(forward_s=seconds / 2, backward_s=seconds / 4, update_s=seconds / 4)


@pytest.mark.parametrize(("two", "chosen"), [(1.0, 1), (0.95, 1), (0.6, 2)])
def test_a_second_core_has_to_gain_more_than_a_tenth(two: float, chosen: int) -> None:
    before = torch.get_num_threads()
    try:
        assert measuring.best({1: [took(1.0)] * 3, 2: [took(two)] * 3}) == chosen
        assert torch.get_num_threads() == chosen
    finally:
        torch.set_num_threads(before)


def test_each_number_of_threads_has_its_turn_at_both_ends_of_the_plan(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[tuple[int, int]] = []

    def advance(_learner: Any, _batch: Any, knobs: int) -> Any:
        made.append((torch.get_num_threads(), knobs))
        return took(0.0)

    before = torch.get_num_threads()
    monkeypatch.setattr(measuring, "advance", advance)
    plan: Any = SimpleNamespace(at=lambda step: step, span=SimpleNamespace(steps=9))
    nothing: Any = None
    try:
        told = measuring.steps(nothing, nothing, plan, [1, 2])
    finally:
        torch.set_num_threads(before)
    assert made == [(threads, knobs) for knobs in (1, 9) * 3 for threads in (1, 2)]
    assert {threads: len(reports) for threads, reports in told.items()} == {1: 5, 2: 5}
