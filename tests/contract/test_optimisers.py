"""What every optimiser promises: its formula, its state there and back, lr 0, its roles."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from surefoot import kinds
from surefoot.errors import RecipeError
from surefoot.learn.learner import grouped
from surefoot.model.parameters import ROLES, Declared
from surefoot.recipe.choice import Choice, options

NAMES = kinds.names("optimisers")
SHAPES = {"square": (12, 12), "wide": (6, 30), "tall": (40, 8)}
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def made(name: str, seed: int = 0, **own: Any) -> Any:
    """Build an optimiser over three matrices, in fp32."""
    source = torch.Generator().manual_seed(seed)
    parameters = {n: nn.Parameter(torch.randn(s, generator=source)) for n, s in SHAPES.items()}
    chosen = options("optimisers", {"kind": name, **own}, "adam")
    return kinds.find("optimisers", name).Optimiser(parameters, chosen, {"tall": (16, 24)})


def give(optimiser: Any, step: int) -> None:
    """Lay gradients that depend on the step alone."""
    source = torch.Generator().manual_seed(1000 + step)
    for parameter in optimiser.parameters.values():
        parameter.grad = torch.randn(parameter.shape, generator=source)


def run(optimiser: Any, steps: range, lr: float = 0.01) -> dict[str, Tensor]:
    for step in steps:
        give(optimiser, step)
        optimiser.update(lr * (1 + step % 3), 0.85 + step / 500)
    return {n: p.detach().clone() for n, p in optimiser.parameters.items()}


def orthogonal(u: Tensor) -> Tensor:
    a, b, c = COEFFICIENTS
    x = u / u.norm()
    for _ in range(5):
        s = x @ x.T
        x = a * x + (b * s + c * s @ s) @ x
    return x


def muon(w: Tensor, g: Tensor, held: dict[str, Tensor], lr: float, mu: float, o: Any) -> Tensor:
    held["m"] = mu * held.get("m", torch.zeros_like(w)) + (1 - mu) * g
    u = (1 - mu) * g + mu * held["m"]
    parts = u.split((16, 24)) if len(u) == 40 else (u,)
    moved = torch.cat([orthogonal(p) * max(1.0, len(p) / p.shape[1]) ** 0.5 for p in parts])
    return w * (1 - lr * o.weight_decay) - lr * moved


def adam(w: Tensor, g: Tensor, held: dict[str, Tensor], lr: float, mu: float, o: Any) -> Tensor:
    b1, b2 = o.betas
    held["t"] = held.get("t", torch.zeros(())) + 1
    held["m"] = b1 * held.get("m", torch.zeros_like(w)) + (1 - b1) * g
    held["v"] = b2 * held.get("v", torch.zeros_like(w)) + (1 - b2) * g * g
    mean, square = held["m"] / (1 - b1 ** held["t"]), held["v"] / (1 - b2 ** held["t"])
    return w * (1 - lr * o.weight_decay) - lr * mean / (square.sqrt() + o.eps)


# fp64, a few lines each; an optimiser without one here fails the promise below by name
REFERENCES: dict[str, Callable[..., Tensor]] = {"muon": muon, "adam": adam, "row_adam": adam}


@pytest.mark.parametrize("name", NAMES)
def test_an_optimiser_equals_its_formula_in_double_precision(name: str) -> None:
    assert name in REFERENCES, f"{name}: write its formula here, in fp64, in a few lines"
    decay = {} if name == "row_adam" else {"weight_decay": 0.1}
    optimiser = made(name, **decay)
    expected = {n: p.detach().double() for n, p in optimiser.parameters.items()}
    held: dict[str, dict[str, Tensor]] = {n: {} for n in expected}
    for step in range(30):
        lr, mu = 0.01 * (1 + step % 3), 0.85 + step / 500
        give(optimiser, step)
        for n, p in optimiser.parameters.items():
            g = p.grad.double()
            expected[n] = REFERENCES[name](expected[n], g, held[n], lr, mu, optimiser.options)
        optimiser.update(lr, mu)
    for n, p in optimiser.parameters.items():
        moved = (p.double() - expected[n]).norm() / expected[n].norm()
        assert moved < 1e-4, f"{name}: {n} is off by {moved:.1e}"


@pytest.mark.parametrize("name", NAMES)
def test_state_taken_there_and_back_goes_on_bit_for_bit(name: str) -> None:
    whole, half, other = made(name), made(name), made(name, seed=9)
    expected = run(whole, range(12))
    run(half, range(6))
    for n, p in other.parameters.items():
        p.data.copy_(half.parameters[n].data)
    assert other.slots().keys() == half.slots().keys()
    for n, slot in other.slots().items():
        slot.copy_(half.slots()[n])
    got = run(other, range(6, 12))
    assert all(torch.equal(expected[n], got[n]) for n in expected)
    assert all(torch.equal(t, other.slots()[n]) for n, t in whole.slots().items())


@pytest.mark.parametrize("name", NAMES)
def test_slots_are_there_from_the_start_and_named_by_parameter(name: str) -> None:
    optimiser = made(name)
    before = {n: t.data_ptr() for n, t in optimiser.slots().items()}
    assert {n.split("/")[0] for n in before} == set(SHAPES)
    assert not any(t.any() for t in optimiser.slots().values())
    run(optimiser, range(2))
    assert {n: t.data_ptr() for n, t in optimiser.slots().items()} == before
    parameters = sum(p.numel() for p in optimiser.parameters.values())
    large = sum(t.nbytes for t in optimiser.slots().values() if t.dim() == 2)
    told = kinds.find("optimisers", name).slot_bytes(optimiser.options)
    assert large == told * parameters


@pytest.mark.parametrize("name", NAMES)
def test_lr_zero_changes_no_weight(name: str) -> None:
    optimiser = made(name)
    before = {n: p.detach().clone() for n, p in optimiser.parameters.items()}
    after = run(optimiser, range(3), lr=0.0)
    assert all(torch.equal(before[n], after[n]) for n in before)


@pytest.mark.parametrize("name", NAMES)
def test_a_parameter_without_a_gradient_stays_with_its_state(name: str) -> None:
    optimiser = made(name)
    run(optimiser, range(2))
    slots = {n: t.clone() for n, t in optimiser.slots().items() if n.startswith("wide/")}
    before = optimiser.parameters["wide"].detach().clone()
    give(optimiser, 3)
    optimiser.parameters["wide"].grad = None
    optimiser.update(0.1, 0.9)
    assert torch.equal(before, optimiser.parameters["wide"])
    assert all(torch.equal(t, optimiser.slots()[n]) for n, t in slots.items())


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("name", NAMES)
def test_every_role_is_served_or_refused(name: str, role: str) -> None:
    module = kinds.find("optimisers", name)
    assert module.serves
    assert set(module.serves) <= set(ROLES)
    parameters = {"w": nn.Parameter(torch.zeros(4, 4))}
    chosen: dict[str, Choice] = {role: options("optimisers", {"kind": name}, "adam")}
    if role in module.serves:
        (group,) = grouped(parameters, {"w": Declared(role)}, chosen)
        assert group.role == role
        assert group.optimiser.slots()
    else:
        with pytest.raises(RecipeError, match=rf"optim\.{role}\.kind.*Write optim\.{role}\.kind="):
            grouped(parameters, {"w": Declared(role)}, chosen)


@pytest.mark.parametrize("name", NAMES)
def test_options_have_an_lr_and_come_back_from_a_table(name: str) -> None:
    chosen = kinds.find("optimisers", name).Options()
    assert chosen.kind == name
    assert chosen.lr > 0
    assert options("optimisers", chosen.model_dump(), "adam") == chosen
