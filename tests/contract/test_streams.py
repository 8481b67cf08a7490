"""Every stream, plug-ins included, keeps what the kind promises."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from surefoot import kinds
from surefoot.audit.shake import shake
from surefoot.model.parameters import ROLES, declarations, initialise
from surefoot.recipe.facts import Shape

SHAPE = Shape(dim=8, layers=3, heads=2, kv_heads=2, vocab=16, seq_len=17)
BRANCHES = 2 * SHAPE.layers
TIMES = pytest.mark.parametrize("time", [1, 2, 17])


def examples(name: str) -> list[Any]:
    """Give the option sets that a choice asks to be tested with."""
    module = kinds.find("streams", name)
    return module.examples() if hasattr(module, "examples") else [module.Options(kind=name)]


every = pytest.mark.parametrize(
    ("name", "options"),
    [
        pytest.param(name, options, id=f"{name}-{i}")
        for name in kinds.names("streams")
        for i, options in enumerate(examples(name))
    ],
)


def made(name: str, options: Any, shaken: bool = True) -> nn.ModuleList:
    """One joint for each branch, up the stack."""
    stream = kinds.find("streams", name).Stream
    with torch.device("meta"):
        joints = nn.ModuleList(stream(SHAPE, options, branch) for branch in range(BRANCHES))
    joints.to_empty(device="cpu")
    initialise(joints, 2)
    if shaken:
        shake(joints, seed=3)
    return joints


def passed(joints: Any, x: Tensor) -> Tensor:
    """Take x up the stack, each branch a fixed function of each position."""
    stream = joints[0].expand(x)
    for number, joint in enumerate(joints):
        stream = joint.write(stream, torch.sin((number + 1) * joint.read(stream)))
    return joints[-1].collapse(stream)


def drawn(time: int, dtype: torch.dtype = torch.float32) -> Tensor:
    source = torch.Generator().manual_seed(time)
    return torch.randn(3, time, SHAPE.dim, generator=source).to(dtype)


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_as_initialised_it_is_the_plain_sum_bit_by_bit(name, options, dtype) -> None:
    joints, x = made(name, options, shaken=False), drawn(17, dtype)
    right = x
    for number in range(BRANCHES):
        right = right + torch.sin((number + 1) * right)
    assert torch.equal(passed(joints, x), right)


@every
@TIMES
def test_no_position_touches_another(name, options, time) -> None:
    joints, x = made(name, options).double(), drawn(time, torch.float64)
    y = passed(joints, x)
    assert y.shape == x.shape
    for t in range(time):
        changed = x.clone()
        changed[1, t] += 1
        difference = (passed(joints, changed) - y).abs()
        assert difference[1, t].any()
        difference[1, t] = 0
        assert not difference.any()


@every
def test_what_no_branch_writes_to_comes_out_as_it_went_in(name, options) -> None:
    joints: Any = made(name, options, shaken=False)
    x = drawn(17)
    stream = joints[0].expand(x)
    assert torch.equal(joints[0].read(stream), x)
    for joint in joints:
        stream = joint.write(stream, torch.zeros_like(x))
    assert torch.equal(joints[-1].collapse(stream), x)


@every
def test_parameters_are_the_declared_and_forecast_ones(name, options) -> None:
    joints = made(name, options)
    counted: dict[str, int] = {}
    tensors = dict(joints.named_parameters())
    for full, declared in declarations(joints).items():
        assert declared.role in ROLES
        counted[declared.role] = counted.get(declared.role, 0) + tensors[full].numel()
    told = kinds.find("streams", name).facts(SHAPE, options).parameters
    assert counted == {role: count * BRANCHES for role, count in told.items()}


@every
def test_gradients_reach_the_input_and_every_parameter(name, options) -> None:
    joints, x = made(name, options), drawn(17).requires_grad_()
    passed(joints, x).square().sum().backward()
    for what, weight in [("input", x), *joints.named_parameters()]:
        assert weight.grad is not None, what
        assert weight.grad.isfinite().all(), what
        assert weight.grad.any(), what


@every
def test_weights_go_out_and_in_again_bit_by_bit(name, options) -> None:
    joints, other, x = made(name, options), made(name, options, shaken=False), drawn(17)
    other.load_state_dict(joints.state_dict())
    assert torch.equal(passed(joints, x), passed(other, x))
