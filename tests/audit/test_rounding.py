"""What rounding alone could be is told from a leak by what rounding does in the same model."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from surefoot.audit import rounding
from surefoot.audit.audit import audit_module
from surefoot.audit.case import Case
from surefoot.audit.foreign import taken
from surefoot.audit.measure import Measure
from surefoot.audit.stages import foreign
from tests.audit.zoo import causal
from tests.audit.zoo.stack import Stack


def judged(monkeypatch: pytest.MonkeyPatch, floor: float, **told: Any) -> str:
    monkeypatch.setattr(rounding, "rounding", lambda case: floor)
    nothing: Any = None
    return rounding.allowing(Measure(dtype="float32", **told), nothing).verdict


@pytest.mark.parametrize(("floor", "verdict"), [(1e-4, "clean"), (1e-5, "inconclusive")])
def test_ten_times_what_rounding_moves_is_no_leak(
    floor: float, verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert judged(monkeypatch, floor, probe="perturbation", value=5e-4) == verdict


@pytest.mark.parametrize(
    "told",
    [
        {"probe": "perturbation", "value": 0.5},
        {"probe": "perturbation", "value": 0.0, "choices": ("topk",)},
        {"probe": "perturbation", "value": float("nan")},
    ],
)
def test_what_is_surely_a_leak_stays_one(
    told: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert judged(monkeypatch, 1.0, **told) == "leak"


class Faint(nn.Module):
    """Adds a trace of the next token, too faint to be sure of by its size."""

    def forward(self, x: Tensor) -> Tensor:
        return x + 3e-9 * x.roll(-1, dims=1)


def test_a_faint_leak_is_not_taken_for_rounding() -> None:
    torch.manual_seed(0)
    verdict = audit_module(Stack(Faint()), length=37)
    seen = [m for m in verdict.measures if m.probe == "perturbation" and m.leaks]
    assert not verdict.clean and any(m.verdict == "inconclusive" for m in seen)


def test_noise_of_training_is_no_rounding() -> None:
    torch.manual_seed(0)
    found = taken(Stack(causal.MIXERS["noise in training"]()), length=37)
    subject = foreign(found.subject, 1.0, training=True)
    torch.manual_seed(7)  # wherever the generator stands
    assert rounding.rounding(Case(subject, 37, [9, 20])) < 1e-9
