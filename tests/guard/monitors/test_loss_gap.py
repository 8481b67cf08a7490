"""The gap-CUSUM: how rarely it is wrong, how soon it sees, and what it can't be fooled by."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from surefoot.records import Event, Finding, Record, Remedy, Step
from tests.guard import traces
from tests.guard.monitors.loops import latencies, losses, middle


def counted(kind: str, steps: int, seeds: range) -> dict[str, int]:
    """Count false alarms on a level that stands, or falls as a power law."""

    def falling(number: int) -> float:
        return 1.5 + 6 * (number + 20) ** -0.25

    told: list[Finding] = []
    for seed in seeds:
        base: Callable[[int], float] = falling if kind == "fall" else lambda _: 3.0
        drawn = "gauss" if kind == "fall" else kind
        told += losses("loss_gap", base, steps, kind=drawn, seed=seed)
    return {name: sum(one.severity == name for one in told) for name in ("warn", "act")}


def test_stationary_noise_of_six_kinds_and_a_fall_rouse_nobody() -> None:
    told = [counted(kind, 5000, range(1)) for kind in (*traces.KINDS, "fall")]
    assert sum(one["warn"] for one in told) <= 1 and sum(one["act"] for one in told) == 0, told


@pytest.mark.slow
def test_false_alarms_stay_within_their_budget_over_840_thousand_steps() -> None:
    told = {kind: counted(kind, 60_000, range(2)) for kind in (*traces.KINDS, "fall")}
    print(told)
    assert all(one["warn"] <= 12 for one in told.values()), told  # 1 per 10k for each kind
    assert sum(one["warn"] for one in told.values()) <= 0.4 * 84, told
    assert sum(one["act"] for one in told.values()) <= 2, told


@pytest.mark.parametrize(
    ("shift", "warn", "act"), [(4.0, (4, 8), (6, 10)), (2.0, (10, 18), (14, 26))]
)
def test_a_shift_is_seen_within_few_steps(
    shift: float, warn: tuple[int, int], act: tuple[int, int]
) -> None:
    for severity, (usual, most) in (("warn", warn), ("act", act)):
        found = middle(latencies("loss_gap", shift, severity, 1000, 60, range(9)))
        assert found[0] <= 1.2 * usual + 1 and found[1] <= most + 2, (severity, found)


@pytest.mark.slow
def test_a_shift_of_one_deviation_or_less_is_seen_too() -> None:
    for shift, usual, most in ((1.0, 41, 311), (0.75, 63, 400), (0.5, 376, 3000)):
        found = middle(latencies("loss_gap", shift, "warn", 1500, 3000, range(20)))
        print(shift, found)
        assert found[0] <= 1.2 * usual and found[1] <= most, (shift, found)


@pytest.mark.parametrize(
    ("outliers", "height", "grave"), [(1, 1e6, ""), (4, 1e6, ""), (7, 9, "act")]
)
def test_a_few_outliers_are_none_of_its_business(outliers: int, height: float, grave: str) -> None:
    spikes = range(1000, 1000 + outliers)
    told = losses("loss_gap", lambda n: 3.0 + height * (n in spikes), 1400)
    assert [one.severity for one in told] == (["warn", grave] if grave else [])


def test_it_tells_the_numbers_that_made_it() -> None:
    told = losses("loss_gap", lambda n: 3.0 + 0.4 * (n >= 1000), 1100)
    assert [one.severity for one in told] == ["warn", "act"]
    for one, limit in zip(told, (12.0, 16.0), strict=True):
        assert one.evidence["sum"] > limit == one.evidence["limit"]
        assert one.since is not None and 990 <= one.since <= 1002
        assert abs(one.evidence["best"] - 3.0) < 0.05 and 0.07 < one.evidence["deviation"] < 0.14


def test_while_a_fault_lasts_it_does_not_become_the_scale() -> None:
    watcher = traces.monitor("loss_gap", {})
    drawn = traces.noise("gauss", 1)
    told: list[Finding] = []
    for n in range(1, 4000):
        x = 3.0 + 0.1 * next(drawn) + 2.0 * (n >= 1500)
        told += watcher.observe(Step(step=n, loss=x, ce=x, grad_norm=1.0))
    assert len(told) == 2  # one episode, however long
    assert watcher.best < 3.05 and watcher.level.deviation < 0.15
    assert watcher.sum == 24.0  # and no further, so that it can come back


def test_an_episode_that_is_over_may_be_followed_by_another() -> None:
    bursts = {*range(1000, 1060), *range(2000, 2060)}
    told = losses("loss_gap", lambda n: 3.0 + 0.5 * (n in bursts), 2600)
    assert [(one.severity, one.episode) for one in told] == [
        ("warn", 1), ("act", 1), ("warn", 2), ("act", 2)
    ]  # fmt: skip


def shifted(record: Record | None, up: float, lasts: int = 10**6) -> list[tuple[int, Finding]]:
    """Show a run whose level moves at step 1200, with or without a reason."""

    def moved(one: Step) -> Step:
        return replace(one, ce=one.ce + up * (one.step < 1200 + lasts))

    trace = traces.changed(traces.run(1900), 1200, moved)
    trace = traces.at(trace, record) if record else trace
    return traces.watched(traces.monitor("loss_gap"), trace)


def test_a_restart_of_the_rate_gives_a_new_level_and_a_remedy_does_not() -> None:
    restart = Event(name="lr_restart", step=1200, planned=True)
    assert len(shifted(None, 0.3)) == 2
    assert shifted(restart, 0.3) == []
    remedy = Remedy(id="x", name="lr_scale", at_step=1200, step=1199, args={"factor": 0.7})
    assert shifted(remedy, 0.3, lasts=100) == []
    assert shifted(remedy, 0.3)[0][0] >= 1300  # grace, and then it is a fault still


def test_after_its_own_remedy_it_tells_again_if_nothing_is_better() -> None:
    trace = traces.changed(traces.run(1900), 1200, lambda one: replace(one, ce=one.ce + 0.5))
    remedy = Remedy(id="loss_gap", name="lr_scale", at_step=1300, answers="loss_gap")
    told = traces.watched(traces.monitor("loss_gap"), traces.at(trace, remedy))
    assert [one.severity for _, one in told] == ["warn", "act", "warn", "act"]
    assert told[2][0] >= 1400


def test_without_a_cross_entropy_it_looks_at_the_loss() -> None:
    trace = [
        replace(one, loss=one.ce + 0.5 * (one.step >= 1200), ce=math.nan)
        for one in traces.run(1500)
        if isinstance(one, Step)
    ]
    assert len(traces.watched(traces.monitor("loss_gap"), list(trace))) == 2
