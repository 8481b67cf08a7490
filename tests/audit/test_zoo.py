"""Every leak of the zoo is found, in the module where it lives; nothing causal is accused."""

import time
from collections.abc import Callable

import pytest

from surefoot.audit.audit import audit_module, audit_recipe, audit_trained
from surefoot.audit.verdict import Verdict
from surefoot.plan.plan import Plan
from tests.audit.zoo import causal, leaky, pipelines

SECONDS = 10.0  # of a processor, for one audit
# One of each kind of trouble: hard choices, closed gates, rows, lengths, positions, statistics.
QUICK_LEAKS = [
    "unmasked selection", "only at one position", "batch norm in training", "stride by length",
    "a gate closed at zero", "parallel head reads e+1",
]  # fmt: skip
QUICK_CAUSAL = ["FFT in fp32", "noise in training", "huge weights", "floats"]


def timed(audit: Callable[[], Verdict]) -> Verdict:
    """Audit, within the time that is promised on a machine of its own."""
    began = time.process_time()
    verdict = audit()
    assert time.process_time() - began < SECONDS
    return verdict


def convicts(name: str) -> None:
    verdict = timed(lambda: audit_module(leaky.model(name)))
    assert verdict.state == "leak" and verdict.exit == 3
    home = leaky.home(name) or "the code between modules"
    assert verdict.leaks, f"{name} is found and nobody named"
    assert all(leak.startswith(home) for leak in verdict.leaks), verdict.leaks


def acquits(name: str) -> None:
    verdict = timed(lambda: audit_module(causal.model(name)))
    assert verdict.clean and verdict.exit == 0, [*verdict.leaks, *verdict.defects]


@pytest.mark.parametrize("name", QUICK_LEAKS)
def test_a_leak_is_found_where_it_lives(name: str) -> None:
    convicts(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in leaky.NAMES if name not in QUICK_LEAKS])
def test_every_other_leak_is_found_where_it_lives(name: str) -> None:
    convicts(name)


@pytest.mark.parametrize("name", QUICK_CAUSAL)
def test_a_causal_model_passes(name: str) -> None:
    acquits(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in causal.NAMES if name not in QUICK_CAUSAL])
def test_every_other_causal_model_passes(name: str) -> None:
    acquits(name)


@pytest.mark.parametrize("name", list(pipelines.PARTS))
def test_a_part_of_ours_that_leaks_is_named(name: str) -> None:
    model, narrow = pipelines.spoilt(name)
    verdict = audit_trained("spoilt", model, Plan(narrow).at(1).values, narrow, batches=False)
    assert verdict.state == "leak"
    assert any(pipelines.PARTS[name][1] in leak for leak in verdict.leaks), verdict.leaks


@pytest.mark.slow
@pytest.mark.parametrize("name", list(pipelines.BROKEN))
def test_batches_and_losses_that_give_the_answer_away_are_found(name: str) -> None:
    whole, pipeline = pipelines.broken(name)
    verdict = audit_recipe(whole, pipeline=pipeline)
    assert verdict.state == "leak"
    found = {m.probe for m in verdict.measures if m.leaks}
    assert pipelines.BROKEN[name][2] in found, found
    assert found <= {"labels", "labels: masked", "canary"}
    assert all(leak.startswith(("the batch builder", "batches or loss")) for leak in verdict.leaks)


def test_the_zoo_is_as_large_as_it_is_said_to_be() -> None:
    assert len(leaky.NAMES) + len(pipelines.NAMES) >= 20
    assert len(causal.NAMES) >= 20
