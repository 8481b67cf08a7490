"""Seed 000's quick looks: right for any module, one wait for the device, nothing when not due."""

import math
from typing import Any

import pytest
import torch
from torch import nn

import surefoot
from surefoot import probes
from surefoot.errors import UsageError


class Stack(nn.Module):
    """Three layers, one of which may be cut off."""

    def __init__(self, shut: int | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6)) for _ in range(3)
        )
        self.head, self.shut = nn.Linear(6, 11), shut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for number, layer in enumerate(self.layers):
            x = x + layer(x) * (0.0 if number == self.shut else 1.0)
        return self.head(x)


def trained(shut: int | None = None) -> Stack:
    model = Stack(shut)
    model(torch.randn(5, 6)).square().sum().backward()
    return model


def test_each_layers_norm_is_that_of_all_its_gradients() -> None:
    model = trained()
    found = surefoot.probes.per_layer_grad_norms(model)
    assert list(found) == ["layers.0", "layers.1", "layers.2"]
    for number, norm in enumerate(found.values()):
        grads = [p.grad.flatten() for p in model.layers[number].parameters() if p.grad is not None]
        assert norm == pytest.approx(float(torch.cat(grads).norm()), rel=1e-6)


def test_layers_are_picked_by_number_or_name_and_a_wrong_one_is_named() -> None:
    model = trained()
    whole = probes.per_layer_grad_norms(model)
    some = probes.per_layer_grad_norms(model, [2, "head", "layers.0"])
    assert list(some) == ["layers.2", "head", "layers.0"]
    assert some["layers.0"] == whole["layers.0"] and some["head"] > 0
    for wrong in (3, -1, "layer.0"):
        with pytest.raises(UsageError, match=r'Write layers=\["layers'):
            probes.per_layer_grad_norms(model, [wrong])


def test_layers_of_lists_in_lists_are_the_outer_ones_whatever_they_are_called() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            experts = nn.ModuleList(nn.Linear(2, 2) for _ in range(9))
            self.h = nn.ModuleList([nn.ModuleDict({"mlp": experts}), nn.Linear(2, 2), nn.ReLU()])

    assert probes.layers_of(nn.ModuleDict({"transformer": Odd()})) == [
        "transformer.h.0",
        "transformer.h.1",
    ]
    assert probes.layers_of(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))) == [
        "0",
        "2",
    ]
    with pytest.raises(UsageError, match="no list of layers"):
        probes.per_layer_grad_norms(nn.ModuleDict({"only": nn.Linear(2, 2)}))


def test_a_layer_without_gradients_counts_as_zero_and_none_at_all_is_a_mistake() -> None:
    model = trained()
    for parameter in model.layers[1].parameters():
        parameter.grad = None
    assert probes.per_layer_grad_norms(model)["layers.1"] == 0.0
    with pytest.raises(UsageError, match=r"after backward\(\)"):
        probes.per_layer_grad_norms(Stack())


def test_nothing_of_the_model_changes_and_the_device_is_read_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, reads, plain = trained(), [0], torch.Tensor.tolist
    before = [
        (p.detach().clone(), p.grad.clone()) for p in model.parameters() if p.grad is not None
    ]

    def counted(self: torch.Tensor) -> Any:
        reads[0] += 1
        return plain(self)

    monkeypatch.setattr(torch.Tensor, "tolist", counted)
    probes.per_layer_grad_norms(model)
    assert reads == [1]
    for (value, grad), p in zip(before, model.parameters(), strict=True):
        assert p.grad is not None and torch.equal(p, value) and torch.equal(p.grad, grad)


def test_sparse_and_half_gradients_are_measured_too() -> None:
    table = nn.Sequential(nn.Embedding(9, 4, sparse=True), nn.Linear(4, 2).to(torch.float32))
    table(torch.tensor([1, 1, 3])).sum().backward()
    found = probes.per_layer_grad_norms(table)
    assert all(norm > 0 for norm in found.values())
    half = nn.Sequential(nn.Linear(4, 2, dtype=torch.bfloat16))
    half(torch.full((1, 4), 300.0, dtype=torch.bfloat16)).sum().backward()
    assert math.isfinite(probes.per_layer_grad_norms(half)["0"])


def test_the_share_of_saturated_positions_looks_both_ways() -> None:
    logits = torch.zeros(2, 5, 7)
    logits[0, 1, 3], logits[1, 4, 0], logits[1, 2, 2] = 29.0, -28.5, 28.0
    assert probes.saturated_share(logits) == pytest.approx(0.2)
    assert probes.saturated_share(logits, limit=14.0) == pytest.approx(0.3)


def test_000s_checks_say_what_it_said() -> None:
    told = probes.quick_checks(
        step=20,
        losses=[3.0, 3.5, 3.1],
        model=trained(shut=1),
        logits=torch.full((1, 2, 3), 29.0),
    )
    assert [one.split(":")[0] for one in told] == [
        "loss spikes",
        "dead layers",
        "logits near their cap",
    ]
    assert "layers.1" in told[1] and "layers.0" not in told[1]
    assert probes.quick_checks(400, losses=[1.0, 9.0]) == []
    assert probes.quick_checks(10, losses=[3.0, 3.2], model=trained()) == []


class Untouchable:
    """Fails at whatever is asked of it."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} was looked at")


def test_when_not_due_nothing_is_looked_at() -> None:
    untouched: Any = Untouchable()
    assert probes.due(1) and probes.due(30) and not probes.due(31) and probes.due(14, every=7)
    assert probes.quick_checks(31, losses=[1.0, 9.0], model=untouched, logits=untouched) == []
    with pytest.raises(AssertionError):
        probes.quick_checks(30, model=untouched)
