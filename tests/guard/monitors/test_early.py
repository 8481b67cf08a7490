"""The first steps: swings are found and falls are not, and a model that learns nothing is named."""

import math

import pytest

from surefoot.records import Event, Finding, Step
from tests.guard import traces


def falling(n: int) -> float:
    return 2.2 + 6.1 * (n / 8 + 1) ** -0.7


def young(seed: int, sd: float, swing: float = 0.0, **options: object) -> list[tuple[int, Finding]]:
    drawn, period = traces.noise("gauss", seed), 40 + 8 * (seed % 6)
    watcher = traces.monitor("early_oscillation", {}, **options)
    trace = [
        traces.step(
            n, falling(n) + swing * math.sin(2 * math.pi * n / period + seed) + sd * next(drawn)
        )
        for n in range(1, 450)
    ]
    return traces.watched(watcher, list(trace))


def test_a_falling_curve_does_not_swing_whatever_its_noise() -> None:
    noises = [0.03, 0.07, 0.15, 0.3, 0.4]
    assert [told for seed in range(20) if (told := young(seed, noises[seed % 5]))] == []


@pytest.mark.slow
def test_300_falling_curves_are_silent_and_300_swinging_ones_found() -> None:
    noises = [0.03, 0.07, 0.15, 0.3, 0.4]
    assert [told for seed in range(300) if (told := young(seed, noises[seed % 5]))] == []
    for swing in (0.2, 0.3, 0.5):
        acts = [
            [s for s, one in young(n, 0.05, swing) if one.severity == "act"] for n in range(100)
        ]
        assert all(acts), swing
        print(swing, sorted(act[0] for act in acts)[50])


@pytest.mark.parametrize("swing", [0.2, 0.3, 0.5])
def test_a_swinging_loss_is_noted_then_acted_on(swing: float) -> None:
    for seed in range(5):
        assert [one.severity for _, one in young(seed, 0.05, swing)] == ["note", "act"]


def test_one_hump_at_the_end_of_the_warm_up_stays_a_note() -> None:
    trace = [
        traces.step(n, falling(n) + 0.8 * math.exp(-(((n - 100) / 15) ** 2))) for n in range(1, 450)
    ]
    told = traces.watched(traces.monitor("early_oscillation"), list(trace))
    assert [one.severity for _, one in told] == ["note"]


def test_after_a_restart_it_waits_for_the_warm_up() -> None:
    def humps(n: int) -> float:
        return falling(n) + 0.8 * sum(math.exp(-(((n - at) / 10) ** 2)) for at in (200, 260))

    trace = [traces.step(n, humps(n)) for n in range(1, 450)]
    restart = Event(name="lr_restart", step=170)
    assert len(traces.watched(traces.monitor("early_oscillation", {}), list(trace))) == 2
    held = traces.at(list(trace), restart)
    assert traces.watched(traces.monitor("early_oscillation", {}), held) == []


def test_seed_000s_rule_fires_in_every_run_that_learns_and_only_advises() -> None:
    for seed in range(5):
        told = young(seed, 0.05, rule="seed")
        assert [one.severity for _, one in told] == ["warn"]
        assert told[0][0] <= 20


def stuck(level: float, bigram: float | None = None) -> list[Finding]:
    facts = {"unigram_entropy": 3.15, "bigram_entropy": bigram}
    drawn, watcher = traces.noise("gauss", 1), traces.monitor("early_stuck", facts)
    return [
        one
        for n in range(1, 900)
        for one in watcher.observe(
            Step(step=n, loss=0, ce=level + 0.05 * next(drawn), grad_norm=1.0)
        )
    ]


def test_a_loss_at_the_unigram_entropy_is_acted_on_once() -> None:
    assert [one.severity for one in stuck(3.13)] == ["act"]
    assert stuck(2.84) == [] and stuck(2.5) == []
    assert [one.severity for one in stuck(2.9, bigram=2.3)] == ["note"]
    assert stuck(2.7, bigram=2.3) == []


def test_without_the_corpus_entropy_it_says_that_it_is_silent() -> None:
    told = traces.watched(traces.monitor("early_stuck", {}), traces.run(600))
    assert [(step, one.severity, one.value) for step, one in told] == [(100, "note", "silent")]
