"""Seed 002's raises: healthy ones pass, its sick print is found on its first line."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from surefoot.records import Event, Finding, Record, Remedy, Step
from tests.guard import traces

RAISED = 700
EVENT = Event(name="cutoff_raised", step=RAISED, args={"from": 128, "to": 256}, planned=True)


def seed_002(after: dict[int, float], lr: float, steps: int = 900) -> list[Record]:
    """Give the print of 002: a level of 2.86, a raise, and what came after it."""
    drawn, found = traces.noise("gauss", 9), list[Record]()
    marks = sorted(after)
    for n in range(1, steps):
        x = 2.86
        if n >= RAISED:
            before = max(m for m in [0, *marks] if m <= n - RAISED or m == 0)
            later = min((m for m in marks if m >= n - RAISED), default=marks[-1])
            low, high = after.get(before, after[marks[0]]), after[later]
            share = (n - RAISED - before) / (later - before) if later > before else 0.0
            x = low + (high - low) * min(1.0, share)
        rate = lr if n >= RAISED else 2e-4
        found.append(traces.step(n, x + 0.01 * next(drawn), lr={"matrix": rate}))
    return traces.at(found, EVENT)


def recipe(lr: float = 2e-4, mult: list[float] | None = None) -> Any:
    options = SimpleNamespace(mult=mult or [1.0], kind="stages")
    return SimpleNamespace(optim={"matrix": SimpleNamespace(lr=lr)}, knobs={"lr": options})


def seen(trace: list[Record], facts: Any = None) -> list[tuple[int, Finding]]:
    return traces.watched(traces.monitor("not_recovered", facts or {}), trace)


@pytest.mark.parametrize("facts", [{}, {"recipe": recipe()}], ids=["log", "run"])
def test_the_sick_print_is_found_on_its_first_line_and_is_stuck(facts: Any) -> None:
    told = seen(seed_002({10: 3.45, 50: 3.44, 100: 3.43}, lr=2e-5), facts)
    assert [(step, one.id, one.severity) for step, one in told] == [
        (RAISED, "lr_after_raise", "act"),
        (RAISED + 100, "stuck_after_raise", "warn"),
    ]
    assert told[0][1].evidence["used"] == 2e-5


def test_the_healthy_print_recovers_and_is_noted() -> None:
    told = seen(seed_002({10: 3.45, 50: 3.12, 100: 2.78}, lr=1.7e-4, steps=1200))
    assert [(one.id, one.severity) for _, one in told] == [("not_recovered", "note")]
    assert told[0][1].evidence["ce_peak"] > 3.4
    assert 200 <= told[0][1].evidence["steps_to_recover"] <= 250


def test_exactly_half_of_the_peak_and_what_a_remedy_scaled_are_lawful() -> None:
    fine = {10: 3.0, 100: 2.7}
    assert seen(seed_002(fine, lr=1e-4), {"recipe": recipe()}) == []
    assert seen(seed_002(fine, lr=0.9e-4), {"recipe": recipe()})[0][1].id == "lr_after_raise"
    assert seen(seed_002(fine, lr=0.9e-4), {"recipe": recipe(mult=[1.0, 0.8])}) == []
    scaled = Remedy(id="x", name="lr_scale", at_step=300, args={"factor": 0.7})
    trace = traces.at(seed_002(fine, lr=0.9e-4), scaled)
    assert seen(trace, {"recipe": recipe()}) == []
    ramp = Event(name="user", step=RAISED, args={"ramp_steps": 200, "lr_last": {}})
    assert seen(traces.at(seed_002(fine, lr=0.5e-4), ramp), {"recipe": recipe()}) == []


def test_a_raise_without_a_spike_is_not_stuck() -> None:
    assert seen(seed_002({10: 2.86, 100: 2.86}, lr=2e-4)) == []


def lifted(by: float, event: Event, until: int = 10**6, seed: int = 0) -> list[Record]:
    """Give a plateau that an event lifts, for good or for a while."""
    drawn = traces.noise("gauss", seed)
    trace: list[Record] = [
        traces.step(n, 3.0 + by * (event.step <= n < until) + 0.07 * next(drawn))
        for n in range(1, event.step + 1300)
    ]
    return traces.at(trace, event)


def test_what_never_comes_back_is_acted_on_when_time_is_up() -> None:
    told = seen(lifted(0.3, EVENT))
    assert [(step, one.id, one.severity) for step, one in told if one.id == "not_recovered"] == [
        (RAISED + 1000, "not_recovered", "act")
    ]


def test_what_comes_back_late_is_told_as_back() -> None:
    told = [one for _, one in seen(lifted(0.3, EVENT, until=RAISED + 1100))]
    assert [one.severity for one in told if one.id == "not_recovered"] == ["act", "note"]


def test_a_growth_is_judged_and_its_recovery_is_not_worth_a_line() -> None:
    event = replace(EVENT, name="window_raised")
    assert seen(lifted(0.3, event, until=RAISED + 400)) == []
    assert [one.severity for _, one in seen(lifted(0.3, event))] == ["act"]


def test_after_a_restart_the_level_before_the_decay_is_the_reference() -> None:
    restart = Event(name="lr_restart", step=RAISED)
    decay = Event(name="decay_start", step=400)
    drawn = traces.noise("gauss", 1)
    trace: list[Record] = []
    for n in range(1, 2000):  # the decay buys .3, the restart gives it back
        bought = 0.3 * min(1.0, max(0, n - 400) / 100) * (n < RAISED)
        trace.append(traces.step(n, 3.0 - bought - 0.02 * (n > RAISED) + 0.07 * next(drawn)))
    assert seen(traces.at(traces.at(trace, decay), restart)) == []
    told = seen(traces.at(trace, restart))  # nobody said what a decay bought: no remedy
    assert [one.severity for _, one in told] == ["warn"]


def test_an_epoch_longer_than_1000_steps_is_waited_for() -> None:
    facts = {"recipe": recipe()}
    facts["recipe"].knobs["lr"].steps_per_epoch = 1200
    told = [(s, one) for s, one in seen(lifted(0.3, EVENT), facts) if one.id == "not_recovered"]
    assert [step for step, _ in told] == [RAISED + 1200]


def test_steps_without_a_rate_are_told_about_once() -> None:
    trace = [replace(one, lr={}) for one in traces.run(400) if isinstance(one, Step)]
    told = seen(list(trace))
    assert [one.severity for _, one in told] == ["note"] and told[0][0] == 100
