"""What every schedule promises: pure, finite, within bounds, no larger jump than it declares."""

import itertools
import json
import math
import random
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from surefoot import kinds
from surefoot.recipe.choice import Choice
from surefoot.recipe.span import Span

NAMES = kinds.names("schedules")
SHARE = st.floats(0, 1).map(lambda x: round(x, 3))
WARMUP = st.none() | st.integers(0, 60)
# Options of the schedules that come with surefoot; another one is tried with its defaults alone.
OPTIONS: dict[str, dict[str, Any]] = {
    "constant": {"value": st.floats(0, 100)},
    "cosine": {"warmup": WARMUP, "min": SHARE},
    "linear": {"warmup": WARMUP, "min": SHARE},
    "ramp": {
        "start": st.integers(0, 20).map(lambda n: n / 4),
        "end": st.integers(0, 20).map(lambda n: n / 4),
        "steps": st.none() | st.integers(1, 400),
        "share": st.integers(1, 10).map(lambda n: n / 10),
        "round": st.sampled_from([0.0, 0.25]),
    },
    "trapezoid": {"warmup": WARMUP, "cooldown_share": SHARE, "min": SHARE},
    "windows": {
        "start": st.sampled_from([64, 128, 256]),
        "end": st.sampled_from([256, 512, 1792]),
        "round": st.sampled_from([1, 64, 128]),
        "share": st.integers(1, 10).map(lambda n: n / 10),
        "long_layers": st.sampled_from(["every:4", "every:3+last", "top:2", [0, 1]]),
        "short_ratio": st.sampled_from([0.25, 0.5, 1.0]),
    },
    "wsd": {
        "warmup": WARMUP, "decay_share": SHARE, "min": SHARE,
        "shape": st.sampled_from(["cosine", "linear", "sqrt"]),
    },
}  # fmt: skip


@st.composite
def drawn(draw: st.DrawFn, name: str) -> tuple[Any, Span]:
    """Draw options of a schedule and a run that they fit into."""
    asked = {key: draw(values) for key, values in OPTIONS.get(name, {}).items()}
    span = Span(steps=draw(st.integers(1, 400)), layers=draw(st.integers(2, 9)))
    options = kinds.find("schedules", name).Options.model_validate(asked)
    check = getattr(options, "problems", None)
    assume(check is None or not list(check("knobs.x", span)))
    return options, span


def curve(options: Any, span: Span) -> list[list[float]]:
    """Give all values of a run, one a layer or one in all."""
    values = [options.at(update, span) for update in range(span.steps)]
    return [value if isinstance(value, list) else [value] for value in values]


def check_pure(options: Any, span: Span) -> None:
    """Ask in order, backwards and shuffled: the answers are the same."""
    there = curve(options, span)
    order = list(range(span.steps))
    for shuffle in (order[::-1], random.Random(0).sample(order, len(order))):
        for update in shuffle:
            value = options.at(update, span)
            assert (value if isinstance(value, list) else [value]) == there[update], update


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_a_schedule_is_pure(name: str, data: st.DataObject) -> None:
    check_pure(*data.draw(drawn(name)))


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_a_schedule_stays_finite_and_within_its_bounds(name: str, data: st.DataObject) -> None:
    options, span = data.draw(drawn(name))
    low, high = options.bounds(span)
    for values in curve(options, span):
        assert len(values) in (1, span.layers)
        assert all(math.isfinite(v) and low - 1e-9 <= v <= high + 1e-9 for v in values), values


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_a_schedule_never_jumps_further_than_it_declares(name: str, data: st.DataObject) -> None:
    options, span = data.draw(drawn(name))
    limit = options.jump(span) + 1e-9
    values = curve(options, span)
    for before, after in itertools.pairwise(values):
        assert max(abs(b - a) for a, b in zip(before, after, strict=True)) <= limit


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_a_schedule_survives_json_and_being_written_out(name: str, data: st.DataObject) -> None:
    options, span = data.draw(drawn(name))
    again = type(options).model_validate(json.loads(options.model_dump_json()))
    assert curve(again, span) == curve(options, span)
    resolved = getattr(options, "resolved", lambda _: options)(span)
    assert curve(resolved, span) == curve(options, span)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_schedule_is_defined_in_the_shortest_runs(name: str, steps: int) -> None:
    asked = {"start": 0.0, "end": 1.0} if name == "ramp" else {}
    options = kinds.find("schedules", name).Options.model_validate(asked)
    assert len(curve(options, Span(steps=steps, layers=2))) == steps


ELSEWHERE = """
import json, sys
from surefoot import kinds
from surefoot.recipe.span import Span
told = json.loads(sys.stdin.read())
span = Span(steps=97, layers=5)
print(json.dumps({name: [kinds.find("schedules", name).Options.model_validate(raw).at(u, span)
                         for u in reversed(range(97))][::-1] for name, raw in told.items()}))
assert "torch" not in sys.modules, "a schedule loads torch"
"""


def test_a_schedule_says_the_same_in_another_process() -> None:
    asked = {name: {"start": 0.85, "end": 0.95} if name == "ramp" else {} for name in NAMES}
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE],
        input=json.dumps(asked), capture_output=True, text=True, check=True,
    )  # fmt: skip
    span = Span(steps=97, layers=5)
    for name, values in json.loads(done.stdout).items():
        options = kinds.find("schedules", name).Options.model_validate(asked[name])
        assert values == [options.at(update, span) for update in range(97)], name


class Remembering(Choice):
    """A planted fault: counts how often it was asked, as a scheduler that is stepped does."""

    asked: list[int] = [0]  # noqa: RUF012 (the fault)

    def at(self, update: int, span: Span) -> float:
        self.asked[0] += 1
        return min(1.0, self.asked[0] / span.steps)


def test_a_plan_that_remembers_is_found() -> None:
    with pytest.raises(AssertionError):
        check_pure(Remembering(), Span(steps=20))
