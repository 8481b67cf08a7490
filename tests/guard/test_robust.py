"""Medians, noise, blocks, grace, episodes and the missing: what monitors are built of."""

import itertools
import json
import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surefoot.guard import robust
from surefoot.guard.absent import Absent
from surefoot.guard.episode import Episode
from surefoot.guard.grace import Grace
from surefoot.guard.level import Level
from surefoot.records import Event, Remedy
from tests.guard import traces

FLOATS = st.floats(-1e6, 1e6)


@given(st.lists(FLOATS, min_size=1, max_size=40))
def test_medians_are_the_library_s(values: list[float]) -> None:
    assert robust.median(values) == pytest.approx(statistics.median(values))
    away = [abs(v - statistics.median(values)) for v in values]
    assert robust.mad(values) == pytest.approx(statistics.median(away))


@pytest.mark.parametrize("kind", ["gauss", "ar.3", "ar.6"])
def test_the_scale_holds_the_noise_s_memory(kind: str) -> None:
    drawn = traces.noise(kind, 5)
    found = robust.scale([next(drawn) for _ in range(4000)], 1e-6)
    rho = float(kind[2:]) if kind != "gauss" else 0.0
    assert found == pytest.approx(math.sqrt((1 + rho) / (1 - rho)), rel=0.12)


def test_the_scale_is_what_its_formula_says() -> None:
    rng = random.Random(1)
    values = [rng.gauss(0.3, 2) + (9 if n % 50 == 0 else 0) for n in range(256)]
    middle = statistics.median(values)
    s0 = 1.4826 * statistics.median([abs(v - middle) for v in values])
    u = [min(3, max(-3, (v - middle) / s0)) for v in values]
    mean, sd = statistics.fmean(u), statistics.pstdev(u)
    lagged = sum((a - mean) * (b - mean) for a, b in itertools.pairwise(u))
    rho = min(0.9, max(0.0, lagged / (len(u) * sd * sd)))
    expected = s0 * max(1, sd) * math.sqrt((1 + rho) / (1 - rho))
    assert robust.scale(values, 1e-6) == pytest.approx(expected)
    assert robust.scale([1.0] * 64, 0.5) == 0.5


def test_a_line_is_taken_off_whole() -> None:
    assert robust.detrended([3.0 - 0.25 * n for n in range(9)]) == pytest.approx([0.0] * 9)


@given(st.lists(FLOATS, max_size=60), st.integers(1, 7), st.integers(0, 60))
def test_blocks_give_the_median_of_each_and_survive_json(
    values: list[float], size: int, cut: int
) -> None:
    blocks = robust.Blocks(size, keep=3)
    for index, value in enumerate(values):
        if index == cut:
            kept = json.loads(json.dumps(blocks.state()))
            blocks = robust.Blocks(size, keep=3)
            blocks.restore(kept)
        blocks.add(value)
    whole = [values[i : i + size] for i in range(0, len(values) - size + 1, size)]
    assert blocks.medians == pytest.approx([statistics.median(b) for b in whole][-3:])


def test_one_outlier_moves_the_level_by_no_more_than_six_deviations() -> None:
    level, drawn = Level(), traces.noise("gauss", 1)
    for _ in range(600):
        level.add(3 + 0.1 * next(drawn))
    before = level.mean
    level.add(1e9)
    assert level.mean - before <= 6 * level.deviation / 128 + 1e-12


def test_an_episode_opens_once_grows_graver_once_and_closes_after_quiet() -> None:
    episode = Episode(quiet=3)
    levels = [0, 1, 1, 2, 1, 0, 0, 1, 0, 0, 0, 1]
    assert [episode.rises(level) for level in levels] == [
        False, True, False, True, False, False, False, False, False, False, False, True
    ]  # fmt: skip
    assert episode.number == 2 and episode.open


@pytest.mark.parametrize(
    ("record", "last"),
    [
        (Event(name="cutoff_raised", step=100), 299),
        (Event(name="window_raised", step=100), 199),
        (Event(name="seq_len_raised", step=100), 199),
        (Event(name="lr_restart", step=100), 299),
        (Event(name="user", step=100, args={"ramp_steps": 200}), 299),
        (Event(name="resumed", step=100), 0),
        (Event(name="resumed", step=100, args={"exact": False}), 149),
        (Event(name="saved", step=100), 0),
        (Remedy(id="x", name="lr_scale", at_step=100), 199),
        (Remedy(id="x", name="stop", at_step=100), 0),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_grace_lasts_as_long_as_its_event_asks(record: Event | Remedy, last: int) -> None:
    grace = Grace()
    grace.see(record)
    assert [step for step in range(100, 600) if grace.open(step)] == list(range(100, last + 1))


def test_a_knob_that_glides_opens_grace_once() -> None:
    grace = Grace()
    for step in range(100, 1000):
        grace.see(Event(name="window_raised", step=step))
    assert not grace.open(200)
    grace.see(Event(name="window_raised", step=2000))
    assert grace.open(2050)


def test_a_missing_field_is_told_once_and_only_if_it_never_came() -> None:
    never, once = Absent("x", "lr"), Absent("x", "lr")
    assert sum(len(never.seen(False)) for _ in range(500)) == 1
    assert sum(len(once.seen(n == 3)) for n in range(500)) == 0
