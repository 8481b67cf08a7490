"""Every probe is silent on what is causal, finds what it is there for, and says so in numbers."""

import time

import pytest
import torch

from surefoot import kinds
from surefoot.audit.case import Case
from surefoot.audit.foreign import taken
from surefoot.audit.measure import Measure
from surefoot.audit.pipeline import Pipeline
from surefoot.audit.reduced import reduced
from surefoot.audit.shake import shake
from surefoot.audit.stages import of_recipe, ordered
from surefoot.audit.subject import Subject, cuts_of
from tests.audit.zoo import leaky, pipelines

LENGTH = 61
PROBES = kinds.names("probes")
SECONDS = 10.0  # of CPU time: two busy cores of one chip take half again as long


def healthy() -> Case:
    """Give a narrow copy of the starter, shaken."""
    small = reduced(pipelines.recipe())
    subject = of_recipe(small, 1.0, 1)
    return Case(subject, LENGTH, cuts_of(LENGTH), pipeline=Pipeline(small))


def sick(probe: str) -> Case:
    """Give what a probe has to find."""
    broken = [name for name, (_, _, finder) in pipelines.BROKEN.items() if finder == probe]
    if broken:
        _, pipeline = pipelines.broken(broken[0])
        return Case(of_recipe(pipeline.recipe, None, 1), LENGTH, cuts_of(LENGTH), pipeline=pipeline)
    subject: Subject = taken(leaky.model("centred convolution"), length=LENGTH).subject
    shake(subject.module, 0)
    return Case(subject, LENGTH, cuts_of(LENGTH))


def measured(probe: str, case: Case) -> list[Measure]:
    """Run one probe, in its declared time."""
    torch.manual_seed(0)
    began = time.process_time()
    found = list(kinds.find("probes", probe).probe(case))
    assert time.process_time() - began < SECONDS
    return found


@pytest.mark.parametrize("probe", PROBES)
def test_a_causal_model_is_clean(probe: str) -> None:
    found = measured(probe, healthy())
    assert found and all(m.verdict == "clean" for m in found), found


@pytest.mark.parametrize("probe", PROBES)
def test_what_it_is_there_for_is_found(probe: str) -> None:
    found = [m for m in measured(probe, sick(probe)) if m.leaks]
    assert found and all(m.probe.split(":")[0] == probe for m in found)


@pytest.mark.parametrize("probe", PROBES)
def test_it_says_when_it_runs(probe: str) -> None:
    module = kinds.find("probes", probe)
    assert isinstance(module.ORDER, int) and isinstance(module.EACH, bool)


def test_the_sure_and_cheap_ones_come_first() -> None:
    assert ordered() == [
        "perturbation", "gradient", "prefix", "jacobian", "decode_gap", "labels", "canary",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(0.0, "clean"), (1e-9, "clean"), (2e-9, "inconclusive"), (1e-7, "inconclusive"),
     (2e-7, "leak"), (float("nan"), "leak"), (float("inf"), "leak")],
)  # fmt: skip
def test_between_rounding_and_a_leak_nothing_is_claimed(value: float, verdict: str) -> None:
    assert Measure(probe="gradient", value=value).verdict == verdict
    scaled = Measure(probe="gradient", value=1e5 * value, dtype="float32")
    assert scaled.verdict == verdict


def test_a_changed_choice_is_a_leak_at_any_size() -> None:
    assert Measure(probe="perturbation", choices=("layers.1",)).verdict == "leak"
