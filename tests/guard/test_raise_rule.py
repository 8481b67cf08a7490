"""When to raise: a plateau and nothing else, where seed 002's rule fires on its first look."""

import random
import statistics

import pytest

from surefoot.guard import raise_rule

RATES = (0.01, 0.0075, 0.005, 0.0025, 0.0)


def fired(rate: float, sd: float, seed: int, raised: bool = False) -> int:
    """Give the step at which the rule raises in 3000, or 0."""
    rng, medians = random.Random(f"{rate} {sd} {seed}"), list[float]()
    for block in range(60):
        first = block * raise_rule.BLOCK
        losses = [
            2.86 * (1 - rate) ** (step / 50) + sd * rng.gauss(0, 1)
            for step in range(first + 1, first + 51)
        ]
        medians.append(statistics.median(losses))
        if raise_rule.decide(medians, raised=raised).due:
            return len(medians) * raise_rule.BLOCK
    return 0


@pytest.mark.parametrize("sd", [0.03, 0.07, 0.2])
def test_what_still_falls_is_never_raised_and_what_stands_is(sd: float) -> None:
    seeds = range(8)
    for rate in (0.01, 0.0075, 0.005):
        assert not any(fired(rate, sd, seed) for seed in seeds), rate
    if sd < 0.1:
        assert {fired(0.0, sd, seed) for seed in seeds} == {600}
        assert statistics.median(fired(0.0025, sd, seed) for seed in seeds) == 600


@pytest.mark.slow
def test_the_table_of_forty_runs_each() -> None:
    table = {
        (rate, sd): [at for seed in range(40) if (at := fired(rate, sd, seed))]
        for rate in RATES
        for sd in (0.03, 0.07, 0.2)
    }
    for (rate, sd), steps in table.items():
        print(rate, sd, len(steps), statistics.median(steps) if steps else "-")
        if rate >= 0.005:
            assert steps == []
        elif sd < 0.1:
            assert len(steps) >= 38 and statistics.median(steps) == 600
    assert len(table[0.0, 0.2]) >= 33  # 37 of 40 in the spec
    assert len(table[0.0025, 0.2]) <= 10  # 3 of 40: there max_dwell decides


def test_seed_002s_rule_fires_at_its_first_looks_at_twice_the_threshold() -> None:
    for seed in range(8):
        rng, losses = random.Random(seed), list[float]()
        while not raise_rule.seed_rule(losses):
            losses.append(2.86 * 0.99 ** (len(losses) / 50) + 0.07 * rng.gauss(0, 1))
        assert 50 <= len(losses) <= 69


def test_after_a_raise_its_spike_is_not_looked_at() -> None:
    assert fired(0.0, 0.03, 0, raised=True) == 800
    spike = [3.4, 3.2, 3.0, 2.9] + [2.86] * 12
    assert raise_rule.decide(spike, raised=True).due


def test_dwell_holds_back_and_max_dwell_pushes() -> None:
    flat = [2.86] * 20
    assert raise_rule.decide(flat).due and not raise_rule.decide(flat, dwell=40).due
    falling = [3.0 * 0.98**n for n in range(24)]
    assert not raise_rule.decide(falling).due
    pushed = raise_rule.decide(falling, max_dwell=24)
    assert pushed.due and pushed.reason == "max_dwell: 1200 steps at this value"


def test_the_bound_is_what_its_formula_says() -> None:
    medians = [3.0, 2.99, 3.01, 2.97, 2.98, 2.95, 2.97, 2.94]
    seen = raise_rule.look(medians)
    slope, start = statistics.linear_regression(range(8), medians)
    misfit = sum((y - start - slope * i) ** 2 for i, y in enumerate(medians))
    mean = statistics.fmean(medians)
    assert seen.rate == pytest.approx(-slope / mean)
    se = (misfit / 6 / 42) ** 0.5
    assert seen.bound == pytest.approx(seen.rate + 1.943 * 1.5 * se / mean)
