"""The slow monitor: sees half the gap that the fast one does, and no noise."""

from dataclasses import replace

import pytest

from surefoot.records import Event, Remedy, Step
from tests.guard import traces
from tests.guard.monitors.loops import latencies, losses, middle


def test_stationary_noise_is_no_drift() -> None:
    for kind in ("gauss", "ar.6", "lognormal"):
        assert losses("loss_drift", lambda _: 3.0, 8000, kind=kind) == []


@pytest.mark.slow
def test_600_thousand_stationary_steps_of_six_kinds_are_silent() -> None:
    for kind in traces.KINDS:
        for seed in range(2):
            assert losses("loss_drift", lambda _: 3.0, 50_000, kind=kind, seed=seed) == []


def test_three_quarters_of_a_deviation_are_seen_in_800_steps() -> None:
    usual, most = middle(latencies("loss_drift", 0.75, "warn", 3000, 900, range(5)))
    assert usual <= 500 and most <= 800


@pytest.mark.slow
def test_smaller_drifts_take_longer() -> None:
    for shift, usual, most in ((0.75, 399, 800), (0.5, 549, 1200), (0.3, 1149, 4000)):
        found = middle(latencies("loss_drift", shift, "warn", 4000, 4000, range(12)))
        print(shift, found)
        assert found[0] <= 1.2 * usual and found[1] <= most, (shift, found)


def test_it_asks_for_a_remedy_only_after_twenty_blocks_or_with_growing_gradients() -> None:
    drawn = traces.noise("gauss", 2)
    for grown, soonest, latest in ((1.0, 950, 1700), (2.5, 100, 700)):
        watcher, told = traces.monitor("loss_drift", {}), {}
        for n in range(1, 5000):
            x = 3.0 + 0.1 * next(drawn) + 0.08 * (n >= 3000)
            grad = grown if n >= 3000 else 1.0
            for one in watcher.observe(Step(step=n, loss=x, ce=x, grad_norm=grad)):
                told.setdefault(one.severity, n - 3000)
        assert soonest <= told["act"] <= latest, (grown, told)


def test_a_restart_is_no_drift_and_a_remedy_excuses_nothing() -> None:
    drawn = [0.1 * x for x, _ in zip(traces.noise("gauss", 3), range(5000), strict=False)]
    for record, expected in (
        (Event(name="lr_restart", step=2500, planned=True), []),
        (Remedy(id="x", name="skip", at_step=2500), ["warn", "act"]),
    ):
        trace = [traces.step(n, 3.0 + drawn[n] + 0.3 * (n >= 2500)) for n in range(1, 5000)]
        steps = [replace(one, grad_norm=1.0) for one in trace]
        told = traces.watched(traces.monitor("loss_drift"), traces.at(list(steps), record))
        assert [one.severity for _, one in told] == expected, record
