"""Each optimiser against the one it is known by, and what sets it apart."""

import pytest
import torch
from torch import Tensor, nn

from surefoot.learn.optimisers import adam, muon, row_adam

SHAPES = [(24, 24), (16, 64), (64, 16), (8, 8), (8, 8)]


def parameters(seed: int = 0) -> dict[str, nn.Parameter]:
    source = torch.Generator().manual_seed(seed)
    return {
        f"p{i}": nn.Parameter(torch.randn(s, generator=source) / 4) for i, s in enumerate(SHAPES)
    }


def give(*holders: dict[str, nn.Parameter], step: int) -> None:
    source = torch.Generator().manual_seed(step)
    for name in holders[0]:
        gradient = torch.randn(holders[0][name].shape, generator=source)
        for holder in holders:
            holder[name].grad = gradient.clone()


@pytest.mark.parametrize(
    ("scale", "theirs"), [("spectral", "original"), ("rms", "match_rms_adamw")]
)
def test_muon_follows_torchs_own(scale: str, theirs: str) -> None:
    own, other = parameters(), parameters()
    ours = muon.Optimiser(own, muon.Options(scale=scale, weight_decay=0.1))
    oracle = torch.optim.Muon(
        other.values(), lr=0.02, weight_decay=0.1, momentum=0.95, adjust_lr_fn=theirs
    )
    start = {name: p.detach().clone() for name, p in own.items()}
    for step in range(30):
        give(own, other, step=step)
        ours.update(0.02, 0.95)
        oracle.step()
    for name in own:
        moved = (other[name] - start[name]).norm()
        assert (own[name] - other[name]).norm() / moved < 5e-2  # theirs computes in bf16


def test_a_jump_of_momentum_leaves_the_size_of_the_mean_alone() -> None:
    held = {"w": nn.Parameter(torch.zeros(8, 8))}
    optimiser = muon.Optimiser(held, muon.Options())
    gradient = torch.randn(8, 8, generator=torch.Generator().manual_seed(0))
    sizes: list[float] = []
    for step in range(400):
        held["w"].grad = gradient.clone()
        optimiser.update(0.0, 0.85 if step < 200 else 0.95)
        sizes.append(float(optimiser.momentum["w"].norm() / gradient.norm()))
    assert sizes[199:] == pytest.approx([1.0] * 201, abs=1e-6)


def test_maps_stored_as_one_tensor_are_moved_one_by_one() -> None:
    source = torch.Generator().manual_seed(4)
    whole = {"qkv": nn.Parameter(torch.randn(48, 24, generator=source))}
    apart = {
        f"part{i}": nn.Parameter(p.detach().clone())
        for i, p in enumerate(whole["qkv"].split((24, 12, 12)))
    }
    one = muon.Optimiser(whole, muon.Options(weight_decay=0.1), {"qkv": (24, 12, 12)})
    three = muon.Optimiser(apart, muon.Options(weight_decay=0.1))
    unsplit = muon.Optimiser({"qkv": nn.Parameter(whole["qkv"].detach().clone())}, muon.Options())
    for _ in range(5):
        gradient = torch.randn(48, 24, generator=source)
        whole["qkv"].grad = gradient
        unsplit.parameters["qkv"].grad = gradient.clone()
        for p, part in zip(apart.values(), gradient.split((24, 12, 12)), strict=True):
            p.grad = part.clone()
        for optimiser in (one, three, unsplit):
            optimiser.update(0.02, 0.9)
    torch.testing.assert_close(
        whole["qkv"].data, torch.cat([*apart.values()]).data, rtol=0, atol=1e-6
    )
    assert (whole["qkv"] - unsplit.parameters["qkv"]).abs().max() > 1e-2


def test_only_small_matrices_are_stacked_on_a_cpu() -> None:
    held = {
        **{f"small{i}": nn.Parameter(torch.zeros(64, 256)) for i in range(3)},
        **{f"large{i}": nn.Parameter(torch.zeros(65, 256)) for i in range(3)},
    }
    stacks = muon.Optimiser(held, muon.Options()).stacks
    assert sorted(len(stack) for stack in stacks) == [1, 1, 1, 3]


def test_adam_follows_torchs_own() -> None:
    own, other = parameters(), parameters()
    ours = adam.Optimiser(own, adam.Options(weight_decay=0.1))
    oracle = torch.optim.AdamW(
        other.values(), lr=3e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1, foreach=False
    )
    for step in range(50):
        give(own, other, step=step)
        ours.update(3e-3, 0.0)
        oracle.step()
    for name in own:
        torch.testing.assert_close(own[name], other[name], rtol=1e-6, atol=1e-6)


def table(rows: int = 20, seed: int = 0) -> dict[str, nn.Parameter]:
    source = torch.Generator().manual_seed(seed)
    return {"table": nn.Parameter(torch.randn(rows, 4, generator=source))}


def test_rows_that_are_all_seen_follow_torchs_sparse_adam() -> None:
    own, other = table(), table()
    options = row_adam.Options()
    ours = row_adam.Optimiser(own, options)
    oracle = torch.optim.SparseAdam(other.values(), lr=1.5e-2, betas=options.betas, eps=options.eps)
    for step in range(50):
        give(own, step=step)
        gradient: Tensor = own["table"].grad
        rows = torch.arange(20)
        other["table"].grad = torch.sparse_coo_tensor(
            rows[None], gradient.clone(), (20, 4), check_invariants=False
        )
        ours.update(1.5e-2, 0.0)
        oracle.step()
    torch.testing.assert_close(own["table"], other["table"], rtol=1e-6, atol=1e-6)


def test_rows_that_are_not_seen_stay_with_their_state_bit_for_bit() -> None:
    own = table()
    optimiser = row_adam.Optimiser(own, row_adam.Options())
    give(own, step=0)
    optimiser.update(1.5e-2, 0.0)
    before = {n: t.clone() for n, t in {**optimiser.slots(), "w": own["table"].data}.items()}
    give(own, step=1)
    seen = torch.zeros(20, dtype=torch.bool)
    seen[[2, 7]] = True
    own["table"].grad[~seen] = 0
    optimiser.update(1.5e-2, 0.0)
    after = {**optimiser.slots(), "w": own["table"].data}
    for name in before:
        assert torch.equal(before[name][~seen], after[name][~seen])
        assert not (before[name][seen] == after[name][seen]).all()
    assert optimiser.counts["table"][seen].tolist() == [2, 2]


def test_a_row_first_seen_late_moves_by_one_lr() -> None:
    own = table(2)
    optimiser = row_adam.Optimiser(own, row_adam.Options())
    own["table"].grad = torch.zeros(2, 4)
    own["table"].grad[0] = 1.0
    for _ in range(2000):
        optimiser.update(1e-2, 0.0)
    start = own["table"].detach().clone()
    own["table"].grad[1] = torch.randn(4, generator=torch.Generator().manual_seed(1))
    optimiser.update(1e-2, 0.0)
    moved = (own["table"] - start)[1].abs()
    assert moved.max() <= 1.05e-2
    assert moved.min() >= 0.95e-2
    own["table"].grad.zero_()
    kept = own["table"].detach().clone()
    optimiser.update(1e-2, 0.0)
    assert torch.equal(kept, own["table"])  # and then not at all
