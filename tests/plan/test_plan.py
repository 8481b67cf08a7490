"""The plan: the seeds' own numbers, and events that only reach forward."""

import itertools
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surefoot import kinds
from surefoot.plan.plan import Plan
from surefoot.recipe.load import from_text, load
from surefoot.recipe.schema import Recipe
from surefoot.recipe.span import Span
from surefoot.recipe.write import resolved
from surefoot.recipe.write import text as written
from surefoot.records import Event, Remedy

STEPS = 200


def made(kind: str, **options: Any) -> Any:
    """Make a schedule."""
    return kinds.find("schedules", kind).Options.model_validate(options)


def recipe(*changes: str) -> Recipe:
    """Load the recipe that these tests bend."""
    return load("starter", [f"train.steps={STEPS}", *changes]).recipe


@pytest.mark.parametrize(
    ("warmup", "update", "lr"),
    [
        (1500, 50, 0.0004),
        (1500, 500, 0.004),
        (1500, 9000, 0.0066),
        (1500, 9400, 0.003426),
        (1500, 10000, 0.0012),
        (2000, 50, 0.0003),
        (2000, 8500, 0.010418),
        (2000, 9400, 0.003426),
        (2000, 9700, 0.001789),
    ],
)
def test_wsd_gives_the_rates_of_a_recorded_run(warmup: int, update: int, lr: float) -> None:
    span = Span(steps=10_000)
    assert 0.012 * made("wsd", warmup=warmup).at(update - 1, span) == pytest.approx(lr, abs=1e-6)


def test_wsd_begins_at_one_warmup_step_and_ends_at_its_floor() -> None:
    span, options = Span(steps=1000), made("wsd", warmup=150)
    values = [options.at(update, span) for update in range(1000)]
    assert values[0] == pytest.approx(1 / 150)
    assert values[-1] == pytest.approx(0.1, abs=1e-12)
    assert all(b <= a for a, b in itertools.pairwise(values[150:]))
    assert max(abs(b - a) for a, b in itertools.pairwise(values)) <= max(1 / 150, 2 / 200)


def test_momentum_warms_up_over_300_steps() -> None:
    span, options = Span(steps=10_000), made("ramp", start=0.85, end=0.95, steps=300)
    told = [options.at(update, span) for update in (0, 150, 300, 9999)]
    assert told == pytest.approx([0.85, 0.90, 0.95, 0.95])


@pytest.mark.parametrize("steps", [7000, 1400, 14])
def test_windows_grow_in_14_stairs_of_equal_length(steps: int) -> None:
    span, options = Span(steps=steps, layers=4), made("windows", long_layers=[0])
    values = [options.at(update, span)[0] for update in range(steps)]
    assert values[0] == 128
    assert values[-1] == 1792
    assert all(value % 128 == 0 for value in values)
    assert all(a <= b for a, b in itertools.pairwise(values))
    assert set(values[: steps // 14]) == {128}
    lengths = [len(list(group)) for _, group in itertools.groupby(values)]
    assert len(lengths) == 14
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize(
    ("where", "long"),
    [("every:4", {0, 4, 8}), ("every:4+last", {0, 4, 8, 9}), ("top:2", {8, 9}), ([3, 5], {3, 5})],
)
def test_long_layers_lie_where_they_were_put(where: Any, long: set[int]) -> None:
    values = made("windows", long_layers=where).at(9999, Span(steps=10_000, layers=10))
    assert {layer for layer, value in enumerate(values) if value == 1792} == long
    assert {value for layer, value in enumerate(values) if layer not in long} == {896}


def test_the_rate_of_a_role_is_its_own_times_the_common_shape() -> None:
    plan = Plan(recipe("optim.matrix.lr=0.5"))
    knobs = plan.at(STEPS)
    assert knobs.lr["matrix"] == pytest.approx(0.5 * 0.1)
    assert knobs.values["lr"] == pytest.approx(0.1)


def test_a_role_may_have_a_knob_of_its_own() -> None:
    plan = Plan(recipe("knobs.lr_matrix={kind='constant', value=0.5}"))
    other = Plan(recipe())
    assert plan.at(50).lr["matrix"] == pytest.approx(0.5 * other.at(50).lr["matrix"])
    assert plan.at(50).lr["embedding"] == other.at(50).lr["embedding"]


def test_a_plan_of_the_written_recipe_is_the_same_plan() -> None:
    here = resolved(recipe())
    again = Plan(from_text(written(here), "recipe.toml"))
    assert [again.at(step) for step in range(1, STEPS + 1)] == [
        Plan(recipe()).at(step) for step in range(1, STEPS + 1)
    ]


def test_a_curve_reaches_from_the_first_step_to_the_last() -> None:
    points = Plan(recipe()).curve("lr", 20)
    assert (points[0][0], points[-1][0], len(points)) == (1, STEPS, 20)


def test_the_last_step_before_decay_is_the_last_at_the_peak() -> None:
    plan = Plan(recipe())
    step = plan.pre_decay()
    assert step is not None
    assert plan.at(step).values["lr"] == 1.0
    assert plan.at(step + 1).values["lr"] < 1.0  # type: ignore[operator]


scales = st.builds(
    lambda at, factor, role, ramp, until: Remedy(
        id="loss_gap", name="lr_scale", at_step=at,
        args={"factor": factor, "ramp": ramp}
        | ({"role": role} if role else {}) | ({"until": at + until} if until else {}),
    ),
    st.integers(1, STEPS), st.floats(0.1, 2), st.sampled_from(["", "matrix", "embedding"]),
    st.integers(1, 30), st.sampled_from([0, 1, 20]),
)  # fmt: skip
knob_sets = st.builds(
    lambda at, end: Remedy(
        id="momentum_low", name="knob", at_step=at,
        args={"knob": "momentum", "set": {"end": end}},
    ),
    st.integers(1, STEPS), st.floats(0.9, 0.99),
)  # fmt: skip
others = st.builds(
    lambda at, name: Event(name=name, step=at, planned=True),
    st.integers(1, STEPS), st.sampled_from(["stage", "decay_start", "user"]),
)  # fmt: skip
bends = st.lists(scales | knob_sets | others, max_size=5)


def start(bend: Event | Remedy) -> int:
    """Give the first step at which a bend holds."""
    return bend.at_step if isinstance(bend, Remedy) else bend.step


@given(bends, scales | knob_sets, st.integers(1, STEPS))
def test_a_later_event_never_changes_an_earlier_step(
    before: list[Any], later: Any, step: int
) -> None:
    if step < start(later):
        assert Plan(recipe(), [*before, later]).at(step) == Plan(recipe(), before).at(step)


@given(bends)
def test_a_bent_plan_is_pure_finite_and_the_same_after_json(events: list[Any]) -> None:
    from surefoot.records import parse, row

    there = [parse(json.loads(json.dumps(row(event)))) for event in events]
    plan, again = Plan(recipe(), events), Plan(recipe(), there)  # type: ignore[arg-type]
    told = {step: plan.at(step) for step in range(1, STEPS + 1, 7)}
    for step in sorted(told, reverse=True):
        assert plan.at(step) == told[step] == again.at(step)
        assert all(math.isfinite(lr) and lr >= 0 for lr in told[step].lr.values())


def test_a_scale_arrives_over_its_ramp_and_never_at_once() -> None:
    remedy = Remedy(id="x", name="lr_scale", at_step=100, args={"factor": 0.5, "ramp": 20})
    flat = recipe("knobs.lr={kind='constant'}")
    plan = Plan(flat, [remedy])
    rates = [plan.at(step).lr["matrix"] for step in range(90, 140)]
    assert rates[0] == pytest.approx(0.02)
    assert rates[-1] == pytest.approx(0.01)
    assert max(a / b for a, b in itertools.pairwise(rates)) <= 0.5 ** (-1 / 20) + 1e-9
