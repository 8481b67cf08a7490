"""Losses that are too good: at the floor, and falling faster than a power law."""

import math
from dataclasses import replace
from typing import Any

import pytest

from surefoot.guard.monitors.floor_leak import floor
from surefoot.records import Event, Finding, Record, Step
from tests.guard import traces


def flat(level: float, steps: int = 400, **fields: Any) -> list[Record]:
    drawn = traces.noise("gauss", 1)
    return [traces.step(n, level + 0.002 * next(drawn), **fields) for n in range(1, steps)]


def seen(trace: list[Record], **facts: Any) -> list[tuple[int, Finding]]:
    return traces.watched(traces.monitor("floor_leak", facts), trace)


def severities(trace: list[Record], **facts: Any) -> list[tuple[str, str]]:
    return [(one.id, one.severity) for _, one in seen(trace, **facts)]


def test_the_floor_of_seed_003s_label_smoothing() -> None:
    assert floor(0.1, 4096) == pytest.approx(1.1566, abs=5e-5)
    assert floor(0.0, 4096) == 0.0
    q = 0.1 / 7  # by hand, for a vocabulary of seven
    p = [0.9 + q, *[q] * 6]
    assert floor(0.1, 7) == pytest.approx(-sum(x * math.log(x) for x in p))


@pytest.mark.parametrize(
    ("level", "told"), [(0.3, []), (0.08, ["warn"]), (0.012, ["act"]), (-0.1, ["act"])]
)
def test_near_the_floor_it_warns_and_at_it_it_acts(level: float, told: list[str]) -> None:
    assert [severity for _, severity in severities(flat(level))] == told


def test_smoothed_losses_have_their_own_floor() -> None:
    head = {"label_smoothing": 0.1}
    recipe = traces.RECIPE.model_copy(
        update={"model": traces.RECIPE.model.model_copy(
            update={"head": traces.RECIPE.model.head.model_copy(update=head)}
        )}
    )  # fmt: skip
    for level, told in ((1.2571, []), (1.2071, ["warn"]), (1.1763, ["act"])):
        trace = flat(0.5, aux={"ce_smooth": level})
        assert [s for _, s in severities(trace, recipe=recipe)] == told


def test_a_small_corpus_learnt_by_heart_is_no_leak() -> None:
    assert severities(flat(0.01), corpus_tokens=2048 * 10) == []
    assert severities(flat(0.01), corpus_tokens=2048 * 1000) != []


def test_a_given_floor_is_all_that_counts() -> None:
    data = traces.RECIPE.data
    for given, level, told in ((0.0, 0.001, []), (8.3, 8.29, []), (8.3, 8.0, ["act"])):
        recipe = traces.RECIPE.model_copy(
            update={"data": data.model_copy(update={"entropy_floor": given})}
        )
        assert [s for _, s in severities(flat(level), recipe=recipe)] == told


def learnt(since: int, low: float, tau: float) -> list[Record]:
    """Give a run whose loss falls to `low` from one step on."""

    def fallen(one: Step) -> Step:
        x = low + (one.ce - low) * math.exp(-(one.step - since) / tau)
        return replace(one, ce=x, loss=x)

    return traces.changed(traces.run(1900), since, fallen)


def test_a_loss_that_falls_off_its_power_law_is_warned_of() -> None:
    told = seen(learnt(1000, 1.5, 40.0))
    assert [one.id for _, one in told] == ["fell_too_fast"]
    assert 1050 <= told[0][0] <= 1200


def test_coming_back_from_a_burst_is_no_fall() -> None:
    for lasts in (60, 150, 700):

        def burst(one: Step, lasts: int = lasts) -> Step:
            up = 2.0 if one.step < 900 + lasts else 0.0
            return replace(one, ce=one.ce + up, loss=one.loss + up)

        assert seen(traces.changed(traces.run(1950), 900, burst)) == []


@pytest.mark.parametrize("seed", range(5))
def test_learning_and_its_decay_never_fall_too_fast(seed: int) -> None:
    assert seen(traces.run(2400, seed=seed, sd=0.15)) == []


def test_no_fall_counts_near_an_event_or_in_the_decay() -> None:
    for record in (
        Event(name="cutoff_raised", step=990, planned=True),
        Event(name="decay_start", step=990, planned=True),
    ):
        trace = [one for one in learnt(1000, 1.5, 40.0) if one.step < 1550]
        assert seen(traces.at(trace, record)) == []
