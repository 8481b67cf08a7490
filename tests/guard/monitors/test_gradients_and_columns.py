"""Gradients that grow, leap or are always clipped, and losses that are something else."""

import math
from dataclasses import replace
from typing import Any

import pytest

from surefoot.records import Event, Finding, Record, Remedy, Step
from tests.guard import traces


def trace(grad: Any, loss: Any = lambda n: 3.0, steps: int = 1600, **fields: Any) -> list[Record]:
    drawn = traces.noise("lognormal", 1)
    return [
        traces.step(n, loss(n), grad_norm=grad(n) * math.exp(0.1 * next(drawn)), **fields)
        for n in range(1, steps)
    ]


def seen(name: str, steps: list[Record], **facts: Any) -> list[tuple[int, Finding]]:
    return traces.watched(traces.monitor(name, facts), steps)


@pytest.mark.parametrize(("times", "told"), [(1.7, []), (2.4, ["warn"]), (4.0, ["act"])])
def test_growing_gradients_on_a_standing_loss_escalate(times: float, told: list[str]) -> None:
    found = seen("gnorm_escalation", trace(lambda n: times if n >= 800 else 1.0))
    assert [one.severity for _, one in found] == told
    assert all(1000 <= step <= 1050 for step, _ in found)


def test_a_slow_escalation_warns_and_then_acts() -> None:
    found = seen(
        "gnorm_escalation", trace(lambda n: 3.6 * (13 / 3.6) ** min(1, n / 2000), steps=3000)
    )
    assert [one.severity for _, one in found] == ["warn", "act"]


def test_gradients_may_grow_while_the_loss_falls() -> None:
    falling = trace(lambda n: 1 + n / 400, lambda n: 6.0 - n / 400)
    assert seen("gnorm_escalation", falling) == []


@pytest.mark.parametrize(
    "record",
    [
        Event(name="window_raised", step=800, planned=True),
        Event(name="lr_restart", step=800, planned=True),
        Remedy(id="x", name="lr_scale", at_step=800, args={"factor": 0.5}),
    ],
    ids=lambda record: record.name,
)
def test_a_new_rate_or_length_gives_gradients_a_new_size(record: Record) -> None:
    steps = traces.at(trace(lambda n: 4.0 if n >= 800 else 1.0), record)
    assert seen("gnorm_escalation", steps) == []


def test_three_leaps_in_five_steps_are_a_spike_and_two_are_not() -> None:
    for leaps, told in (((700, 702), []), ((700, 702, 704), ["gnorm_spike"])):
        found = seen("gnorm_escalation", trace(lambda n, at=leaps: 40.0 if n in at else 1.0))
        assert [one.id for _, one in found] == told
        assert all((step, one.since) == (704, 700) for step, one in found)


def test_logs_without_gradients_are_told_about_once() -> None:
    steps = [replace(one, grad_norm=math.nan) for one in traces.run(400) if isinstance(one, Step)]
    found = seen("gnorm_escalation", list(steps))
    assert [(step, one.value) for step, one in found] == [(100, "silent")]


def test_only_a_clip_at_nearly_every_step_is_noted() -> None:
    for share, told in ((0.85, 0), (1.0, 1)):
        steps = [
            replace(one, clipped=one.step % 20 < 20 * share)
            for one in traces.run(1500)
            if isinstance(one, Step)
        ]
        found = seen("clip_share", list(steps), recipe=traces.RECIPE)
        assert [one.severity for _, one in found] == ["note"] * told
        assert all("train.clip=2" in one.instead for _, one in found)


def inflated(share: float) -> list[Record]:
    steps = [one for one in traces.run(300) if isinstance(one, Step)]
    return [replace(one, loss=one.ce / (1 - share)) for one in steps]


def test_a_loss_that_is_a_third_something_else_is_noted_once() -> None:
    assert seen("aux_inflation", inflated(0.1)) == []
    found = seen("aux_inflation", inflated(0.3))
    assert [(step, one.severity) for step, one in found] == [(20, "note")]
    assert "30%" in found[0][1].why


def test_a_loss_below_its_own_part_does_not_add_up() -> None:
    found = seen("aux_inflation", inflated(-0.1))
    assert [one.severity for _, one in found] == ["warn"]
    smoothed = traces.RECIPE.model_copy(
        update={"model": traces.RECIPE.model.model_copy(
            update={"head": traces.RECIPE.model.head.model_copy(update={"label_smoothing": 0.1})}
        )}
    )  # fmt: skip
    assert seen("aux_inflation", inflated(-0.1), recipe=smoothed) == []
