"""Every head, plug-ins included, keeps what the kind promises."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from surefoot import kinds
from surefoot.audit.shake import shake
from surefoot.model.batch import IGNORED, Batch
from surefoot.model.context import Context
from surefoot.model.model import Table, context
from surefoot.model.parameters import ROLES, Declared, declarations, initialise
from surefoot.recipe.facts import Shape

SHAPE = Shape(dim=16, layers=1, heads=2, kv_heads=2, vocab=23, seq_len=17)
TIMES = pytest.mark.parametrize("time", [1, 2, 17])


def examples(name: str) -> list[Any]:
    """Give the option sets that a choice asks to be tested with."""
    module = kinds.find("heads", name)
    return module.examples() if hasattr(module, "examples") else [module.Options(kind=name)]


VARIANTS = [
    pytest.param(name, options, tied, id=f"{name}-{i}-{'tied' if tied else 'free'}")
    for name in kinds.names("heads")
    for i, options in enumerate(examples(name))
    for tied in (True, False)
]
every = pytest.mark.parametrize(("name", "options", "tied"), VARIANTS)


class Body(nn.Module):
    """An embedding and the head on it: what a model of no layers is."""

    def __init__(self, name: str, options: Any, tied: bool) -> None:
        super().__init__()
        self.embedding = Table(SHAPE.vocab, SHAPE.dim, Declared("embedding", std=0.5))
        owner = self.embedding if tied else None
        self.head: Any = kinds.find("heads", name).Head(SHAPE, options, owner)


def made(name: str, options: Any, tied: bool, dtype: torch.dtype = torch.float64) -> Body:
    with torch.device("meta"):
        body = Body(name, options, tied)
    body.to_empty(device="cpu")
    initialise(body, 3)
    shake(body, seed=6)
    return body.to(dtype)


def drawn(time: int, rows: int = 3) -> tuple[Tensor, Batch, Context]:
    source = torch.Generator().manual_seed(time)
    ids = torch.randint(SHAPE.vocab, (rows, time + 1), generator=source)
    top = torch.randn(rows, time, SHAPE.dim, generator=source, dtype=torch.float64)
    batch = Batch(ids[:, :-1], ids[:, 1:].contiguous(), valid=rows * time)
    return top, batch, context(batch.tokens)


@every
@TIMES
def test_logits_at_a_position_come_from_no_other(name, options, tied, time) -> None:
    body = made(name, options, tied)
    top, _, _ = drawn(time)
    logits = body.head(top)
    assert logits.shape == (3, time, SHAPE.vocab)
    for t in range(time):
        changed = top.clone()
        changed[1, t:] = changed[1, t:] * 3 + 1
        difference = (body.head(changed) - logits).abs()
        assert not difference[1, :t].any(), "a later position shows"
        assert not difference[[0, 2]].any(), "another row shows"


@every
@TIMES
def test_the_ce_that_is_told_is_that_of_the_logits(name, options, tied, time) -> None:
    body = made(name, options, tied)
    top, batch, ctx = drawn(time)
    right = nn.functional.cross_entropy(body.head(top).flatten(0, 1), batch.targets.flatten())
    _, stats = body.head.loss(top, batch, ctx, batch.valid)
    assert torch.allclose(stats["ce"], right, atol=1e-12)
    assert torch.allclose(body.head.ce(top, batch).mean(), right, atol=1e-12)
    log_p = body.head(top).log_softmax(-1)
    assert torch.allclose(stats["entropy"], -(log_p.exp() * log_p).sum(-1).mean(), atol=1e-12)


@every
def test_ignored_targets_leave_the_loss_and_its_gradient(name, options, tied) -> None:
    body = made(name, options, tied)
    top, batch, ctx = drawn(17)
    top.requires_grad_()
    batch.targets[:, 9:] = IGNORED
    loss, stats = body.head.loss(top, batch, ctx, batch.valid)
    (gradient,) = torch.autograd.grad(loss, top)
    assert not gradient[:, 9:].any()
    assert gradient[:, :9].any()
    assert not body.head.ce(top, batch)[:, 9:].any()
    _, half = body.head.loss(top, batch, ctx, 2 * batch.valid)
    assert torch.allclose(half["ce"] * 2, stats["ce"])


@every
def test_stats_are_detached_and_hold_the_names_that_all_heads_give(name, options, tied) -> None:
    top, batch, ctx = drawn(2)
    loss, stats = made(name, options, tied).head.loss(top.requires_grad_(), batch, ctx, 6)
    assert {"ce", "entropy", "z2", "logit_max", "logit_sat_share"} <= set(stats)
    assert loss.dim() == 0
    assert loss.requires_grad
    for key, value in stats.items():
        assert value.dim() == 0, key
        assert not value.requires_grad, key
        assert math.isfinite(value), key


@every
def test_parameters_are_the_declared_and_forecast_ones(name, options, tied) -> None:
    with torch.device("meta"):
        body = Body(name, options, tied)
    counted: dict[str, int] = {}
    tensors = dict(body.named_parameters())
    for full, declared in declarations(body).items():
        assert declared.role in ROLES
        if full.startswith("head."):
            counted[declared.role] = counted.get(declared.role, 0) + tensors[full].numel()
    assert counted == dict(kinds.find("heads", name).facts(SHAPE, options, tied).parameters)
    assert ("head" in counted) != tied


@every
def test_every_parameter_gets_a_gradient(name, options, tied) -> None:
    body = made(name, options, tied)
    _, batch, ctx = drawn(17)
    loss, _ = body.head.loss(body.embedding(batch.tokens), batch, ctx, batch.valid)
    loss.backward()
    for full, weight in body.named_parameters():
        assert weight.grad is not None, full
        assert weight.grad.any(), full
        assert weight.grad.isfinite().all(), full


@every
def test_the_gradient_is_that_of_finite_differences(name, options, tied) -> None:
    body = made(name, options, tied)
    top, batch, ctx = drawn(2)
    top.requires_grad_()
    loss, _ = body.head.loss(top, batch, ctx, batch.valid)
    (gradient,) = torch.autograd.grad(loss, top)
    step = torch.randn(top.shape, generator=torch.Generator().manual_seed(1), dtype=top.dtype)
    with torch.no_grad():
        ahead, back = (
            body.head.loss(top + sign * 1e-6 * step, batch, ctx, batch.valid)[0] for sign in (1, -1)
        )
    assert abs((ahead - back) / 2e-6 - (gradient * step).sum()) < 1e-8


@every
def test_weights_go_out_and_in_again_bit_by_bit(name, options, tied) -> None:
    body, other = made(name, options, tied), made(name, options, tied)
    with torch.no_grad():
        for weight in other.parameters():
            weight.zero_()
    other.load_state_dict(body.state_dict())
    top, _, _ = drawn(17)
    assert torch.equal(body.head(top), other.head(top))
