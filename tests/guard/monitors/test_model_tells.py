"""The monitors of what a mixer tells of itself, and of validation: health, limits, boundaries."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from surefoot.records import Eval, Event, Finding, Record, Step
from tests.guard import traces

GATES = {
    "gate_entropy_nats": 0.95,
    "gate_max_share": 0.5,
    "gate_collapse_share": 0.001,
    "branch_share.cmp": 0.3,
    "branch_share.slc": 0.3,
    "branch_share.win": 0.4,
    "gate_open.cmp": 0.5,
    "gate_open.slc": 0.01,
    "gate_open.win": 0.02,
}
SELECTION = {"sel_at_max_share": 0.016, "sel_lift": 1.6, "sel_tie_share": 0.01, "sel_mass": 0.4}


def step(number: int, **fields: Any) -> Step:
    return Step(step=number, loss=3.0, ce=3.0, grad_norm=1.0, **fields)


def watched(name: str, records: Iterable[Record], **facts: Any) -> list[Finding]:
    return [one for _, one in traces.watched(traces.monitor(name, facts), list(records))]


def probes(field: str, told: dict[str, float], first: int = 500, count: int = 60) -> list[Record]:
    return [step(first + 10 * n, **{field: told}) for n in range(1, count + 1)]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("gate_entropy_nats", 0.5, "below 0.5"),
        ("gate_max_share", 0.9, "above 0.9"),
        ("gate_collapse_share", 0.051, "above 0.05"),
        ("branch_share.slc", 0.049, "the slc gate"),
        ("gate_open.cmp", 0.049, "all gates are shut"),
    ],
)
def test_gates_that_do_not_choose_warn_and_say_which(name: str, value: float, said: str) -> None:
    assert watched("gates", probes("gates", GATES)) == []
    (found,) = watched("gates", probes("gates", GATES | {name: value}))
    assert found.severity == "warn" and said in str(found)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("gate_entropy_nats", 0.51),
        ("gate_max_share", 0.89),
        ("gate_collapse_share", 0.05),
        ("branch_share.slc", 0.05),
        ("gate_open.cmp", 0.05),
    ],
)
def test_gates_at_their_limits_are_let_be(name: str, value: float) -> None:
    assert watched("gates", probes("gates", GATES | {name: value})) == []


@pytest.mark.parametrize(
    ("name", "value", "severity"),
    [
        ("sel_at_max_share", 0.05, None),
        ("sel_at_max_share", 0.051, "note"),
        ("sel_at_max_share", 0.101, "warn"),
        ("sel_lift", 1.05, None),
        ("sel_lift", 1.049, "warn"),
        ("sel_tie_share", 0.5, None),
        ("sel_tie_share", 0.51, "warn"),
    ],
)
def test_a_selection_is_judged_by_its_limits(name: str, value: float, severity: str | None) -> None:
    found = watched("selection", probes("selection", SELECTION | {name: value}))
    assert [one.severity for one in found] == ([severity] if severity else [])
    assert all(f"{name} {value:.3g}" in one.why for one in found)


def test_branches_have_500_steps_to_find_their_places_and_50_probes_are_asked() -> None:
    shut = GATES | {"gate_max_share": 0.99}
    early = [step(10 * n, gates=shut if n < 48 else GATES) for n in range(1, 150)]
    assert watched("gates", early) == []
    assert watched("gates", probes("gates", shut, count=49)) == []
    raised = Event(name="window_raised", step=505)
    assert watched("gates", [raised, *probes("gates", shut, count=50)]) == []
    few = [step(500 + 10 * n, gates=shut if n % 3 == 0 else GATES) for n in range(1, 200)]
    assert watched("gates", few) == []


def calls(fell: Callable[[int], int], steps: int, total: int = 30) -> list[Record]:
    return [step(n, fallbacks={"calls": total, "slc.shape": fell(n)}) for n in range(1, steps)]


def test_a_fallback_now_and_then_is_let_be_and_more_than_a_thousandth_is_told() -> None:
    assert watched("fallbacks", calls(lambda n: n % 200 == 0, 3000)) == []
    (found,) = watched("fallbacks", calls(lambda n: n % 20 == 0, 3000))
    assert found.severity == "warn" and found.value.startswith("slc.shape")
    assert found.evidence["share"] == pytest.approx(1 / 600)
    assert watched("fallbacks", [step(n) for n in range(1, 500)]) == []


def test_fallbacks_that_rise_are_told_below_a_thousandth() -> None:
    rising = calls(lambda n: n % 25 == 0 if n > 1500 else n % 300 == 0, 2600, total=100)
    (found,) = watched("fallbacks", rising)
    assert "in the 500 before" in found.why and found.evidence["share"] < 0.001
    assert watched("fallbacks", calls(lambda n: n % 25 == 0, 4000, total=100)) == []


def test_one_read_too_many_stops_and_a_field_that_is_absent_says_nothing() -> None:
    right: list[Record] = [step(n, reads_pred=100, reads_act=100) for n in range(1, 20)]
    assert watched("reads_mismatch", right) == []
    assert watched("reads_mismatch", [step(1, reads_pred=9), step(2, reads_act=8), step(3)]) == []
    (found,) = watched("reads_mismatch", [*right, step(20, reads_pred=100, reads_act=101)])
    assert found.severity == "act" and "(+1)" in found.why


def validated(
    val_ce: Callable[[int], float],
    train: Callable[[int], float],
    tokens: int = 100_000,
    every: int = 250,
) -> list[Record]:
    drawn, found = traces.noise("gauss", 2), list[Record]()
    for n in range(1, 2501):
        x = train(n) + 0.06 * next(drawn)
        found.append(Step(step=n, loss=x, ce=x, grad_norm=1.0, tokens=2048 * n))
        if n % every == 0:
            found.append(Eval(step=n, val_ce=val_ce(n), val_bpb=1.0, val_tokens=tokens))
    return found


def flat(n: int) -> float:
    return traces.curve(min(n, 600))


FAR: Callable[[int], float] = lambda n: flat(n) + 0.3 * (n > 300)  # noqa: E731


@pytest.mark.parametrize(
    ("records", "why"),
    [
        (validated(lambda n: traces.curve(n) + 0.3, traces.curve), "training still learns"),
        (validated(lambda n: flat(n) + 0.05, flat), "the gap is small"),
        (validated(FAR, flat, tokens=8_000), "so few tokens may be harder by chance"),
        (validated(lambda n: flat(n) + 0.6 * 0.8 ** (n / 250), flat), "validation comes nearer"),
        (validated(FAR, flat, every=40), "too near each other, seldom enough"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_validation_above_training_is_no_lag_by_itself(records: list[Record], why: str) -> None:
    found = watched("embedding_lag", records)
    assert found == [] or "seldom" in why  # compared 200 steps apart, it is one all the same


def test_a_lag_is_told_with_a_rate_to_write_and_over_fitting_by_its_name() -> None:
    (found,) = watched("embedding_lag", validated(FAR, flat), **traces.facts())
    lr = traces.RECIPE.optim["embedding"].lr
    assert found.severity == "warn" and found.instead.endswith(f"lr={lr * 24 / 22:.3g}")
    (again,) = watched("embedding_lag", validated(FAR, flat), corpus_tokens=1e6)
    assert "over-fitting" in again.why and "times" in again.why


def test_nothing_is_said_of_a_decay_and_one_validation_after_an_event_is_let_be() -> None:
    records = validated(FAR, flat)
    decay = traces.at(records, Event(name="decay_start", step=700, planned=True))
    assert watched("embedding_lag", decay) == []
    raised = traces.at(records, Event(name="window_raised", step=900, planned=True))
    steps = [one for one in raised if one.step > 800]
    watcher, told = traces.monitor("embedding_lag", {}), list[int]()
    for one in steps:
        told += [one.step for _ in watcher.observe(one)]
    assert told == [1750]  # 1000 is let be; 1250, 1500, 1750 are three
