"""The logit cap's two forms, and their slopes."""

import pytest
import torch

from surefoot.model.logit_cap import cap_in_place, capped, slope_in_place

KINDS = ["tanh", "rational"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_cap_bounds_is_odd_and_has_slope_one_at_zero(kind: str) -> None:
    z = torch.linspace(-500, 500, 2001, dtype=torch.float64)
    f = capped(z, 30.0, kind)
    assert f.abs().max() <= 30.0
    assert torch.equal(f, -f.flip(0))
    assert (f.diff() >= 0).all()
    small = torch.tensor([1e-6], dtype=torch.float64)
    assert torch.allclose(capped(small, 30.0, kind), small, rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_autograd_agrees_with_finite_differences(kind: str) -> None:
    z = torch.linspace(-90, 90, 31, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: capped(t, 30.0, kind), z)


@pytest.mark.parametrize(
    ("kind", "z", "slope"), [("tanh", 50.51, 0.1289), ("rational", 77.99, 0.0463)]
)
def test_at_the_alarm_level_of_28_the_slopes_are_those_computed_by_hand(
    kind: str, z: float, slope: float
) -> None:
    values = torch.tensor([z], dtype=torch.float64)
    cap_in_place(values, 30.0, kind)
    assert abs(values.item() - 28.0) < 0.005
    assert abs(slope_in_place(values, 30.0, kind).item() - slope) < 1e-3 * 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_the_forms_in_place_are_the_same_functions(kind: str) -> None:
    z = torch.linspace(-200, 200, 401, dtype=torch.float64).requires_grad_()
    f = capped(z, 30.0, kind)
    (slope,) = torch.autograd.grad(f.sum(), z)
    values = z.detach().clone()
    cap_in_place(values, 30.0, kind)
    assert torch.allclose(values, f, atol=1e-13)
    assert torch.allclose(slope_in_place(values, 30.0, kind), slope, atol=1e-13)


def test_no_cap_changes_nothing() -> None:
    z = torch.randn(5)
    assert capped(z, 0.0, "tanh") is z
