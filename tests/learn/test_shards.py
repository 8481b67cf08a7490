"""Rows move as the whole would: the same bits, however many ranks share them."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from surefoot import kinds
from surefoot.learn.learner import unshardable
from surefoot.learn.shards import Shards
from surefoot.recipe.choice import options
from tests.learn import toy
from tests.learn.threaded import Round, on_threads

SHAPES = {"wide": (6, 20), "tall": (17, 4), "few": (2, 3), "pair": (10, 4)}
SPLITS = {"pair": (6, 4)}


class Threaded(Shards):
    """Shards of ranks that are threads."""

    def __init__(self, rank: int, told: Round) -> None:
        super().__init__(rank, len(told.laid), None)
        self.told = told
        self.sharded = {name: torch.empty(shape, device="meta") for name, shape in SHAPES.items()}

    def total(self, own: Tensor) -> Tensor:
        laid = self.told.gather(self.rank, own.clone())
        own.copy_(torch.stack(laid).sum(0))
        return own


def drawn(seed: int) -> dict[str, Tensor]:
    source = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=source) for name, shape in SHAPES.items()}


def moved(kind: str, shards: Shards | None) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Make three updates; gives weights and slots, or these rows of them."""

    def own(whole: Tensor) -> Tensor:
        return (whole if shards is None else shards.own(whole)).clone()

    chosen = options("optimisers", {"kind": kind}, "adam")
    parameters = {name: nn.Parameter(own(whole)) for name, whole in drawn(0).items()}
    more: tuple[Any, ...] = () if shards is None else (shards,)
    optimiser = kinds.find("optimisers", kind).Optimiser(parameters, chosen, SPLITS, *more)
    for seed in (1, 2, 3):
        for name, gradient in drawn(seed).items():
            gradient[1] = 0.0 if seed == 2 else gradient[1]  # a row that nobody has seen
            parameters[name].grad = own(gradient)
        optimiser.update(0.02, 0.9)
    return {name: p.detach() for name, p in parameters.items()}, optimiser.slots()


@pytest.mark.parametrize("kind", kinds.names("optimisers"))
@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_rows_move_with_the_bits_of_the_whole(kind: str, ranks: int) -> None:
    weights, slots = moved(kind, None)
    told = Round(ranks)
    found = on_threads(ranks, lambda rank: moved(kind, Threaded(rank, told)))
    for part, whole in ((0, weights), (1, slots)):
        for name, tensor in whole.items():
            rows = [one[part][name] for one in found]
            back = torch.cat(rows) if tensor.dim() else rows[-1]
            # torch's fused Adam rounds the last few of a tensor otherwise than those before
            exact = kind != "adam"
            alike = torch.equal(back, tensor) if exact else torch.allclose(back, tensor, rtol=1e-6)
            assert alike, name


@pytest.mark.parametrize("ranks", [2, 3, 4])
def test_norms_are_those_of_the_whole(ranks: int) -> None:
    told, weights = Round(ranks), drawn(0)

    def one(rank: int) -> Tensor:
        shards = Threaded(rank, told)
        return shards.norms(torch.stack([shards.own(w).norm() for w in weights.values()]))

    whole = torch.stack([w.norm() for w in weights.values()])
    for found in on_threads(ranks, one):
        assert torch.allclose(found, whole, rtol=1e-6)


def test_an_optimiser_that_does_not_know_rows_is_refused() -> None:
    (problem,) = unshardable("matrix", toy)
    assert str(problem) == (
        'optim.matrix.kind = "toy": toy does not say that it moves sharded parameters, of which it '
        'sees some rows. Write distributed.mode="ddp"'
    )
