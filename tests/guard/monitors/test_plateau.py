"""A plateau is told once, excused by what is planned, and a note inside the decay."""

import itertools
from types import SimpleNamespace
from typing import Any

import pytest

from surefoot.records import Event, Record, Step
from tests.guard import traces
from tests.guard.monitors.loops import losses


def flat_from(onset: int, steps: int, **fields: Any) -> list[Record]:
    drawn = traces.noise("gauss", 4)
    return [
        traces.step(n, traces.curve(min(n, onset)) + 0.03 * next(drawn), **fields)
        for n in range(1, steps)
    ]


@pytest.mark.parametrize("seed", range(3))
def test_a_loss_that_falls_by_more_than_a_half_percent_is_none(seed: int) -> None:
    assert (
        losses("plateau", lambda n: 2.8 * (1 - 0.01) ** (n / 1000), 3000, seed=seed, sd=0.02) == []
    )


def test_one_that_stays_is_told_once() -> None:
    told = traces.watched(traces.monitor("plateau"), flat_from(1400, 4500))
    assert [one.severity for _, one in told] == ["warn"]
    assert 2300 <= told[0][0] <= 2500


def test_any_event_begins_the_window_anew() -> None:
    event = Event(name="window_raised", step=2300, planned=True)
    told = traces.watched(traces.monitor("plateau"), traces.at(flat_from(1400, 4000), event))
    assert told[0][0] >= 3300


def test_inside_the_decay_it_is_a_note() -> None:
    event = Event(name="decay_start", step=2000, planned=True)
    told = traces.watched(traces.monitor("plateau"), traces.at(flat_from(1400, 4000), event))
    assert [one.severity for _, one in told] == ["note"]


def test_a_raise_that_is_due_is_the_answer_itself() -> None:
    knobs = {"cutoff": SimpleNamespace(kind="raises", values=[128, 256])}
    recipe = SimpleNamespace(knobs=knobs)
    for value, expected in ((128.0, 0), (256.0, 1)):
        trace = flat_from(1400, 2800, knobs={"cutoff": value})
        told = traces.watched(traces.monitor("plateau", {"recipe": recipe}), trace)
        assert len(told) == expected


def test_it_comes_at_most_once_in_1000_steps() -> None:
    watcher, told = traces.monitor("plateau", {}), list[int]()
    level = 3.0
    for n in range(1, 9000):
        level *= 1 - 2e-5 if n % 3000 > 2500 else 1  # gains, long enough to close an episode
        for _ in watcher.observe(Step(step=n, loss=level, ce=level, grad_norm=1.0)):
            told.append(n)
    assert len(told) >= 2 and all(b - a >= 1000 for a, b in itertools.pairwise(told))
