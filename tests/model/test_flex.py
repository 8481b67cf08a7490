"""FlexAttention's blocks hold just what is seen; its kernel needs a GPU."""

import pytest
import torch

from surefoot.model import flex
from surefoot.model.attention import Scoring, attend, begins_of

CPU = torch.device("cpu")


def documents(time, rows=2):
    source = torch.Generator().manual_seed(time)
    return begins_of((torch.rand(rows, time, generator=source) < 0.02).cumsum(dim=1))


def exact(time, window, begins):
    t, s = torch.arange(time)[:, None], torch.arange(time)
    seen = (s <= t) & (s > t - window)
    return seen.expand(1, -1, -1) if begins is None else seen & (s >= begins[..., None])


@pytest.mark.parametrize("time", [1, 127, 128, 129, 700])
@pytest.mark.parametrize("window", [1, 2, 128, 129, 300, 10_000])
@pytest.mark.parametrize("packed", [False, True])
def test_blocks_are_those_of_the_exact_mask(time, window, packed):
    begins = documents(time) if packed else None
    some, whole = flex.blocks(time, window, begins, CPU)
    edges = range(0, time, flex.BLOCK)
    for row, seen in enumerate(exact(time, window, begins)):
        for i, t in enumerate(edges):
            for j, s in enumerate(edges):
                block = seen[t : t + flex.BLOCK, s : s + flex.BLOCK]
                assert not block.any() or some[row, 0, i, j], "a block that is seen is left out"
                # a document that ends inside a block may leave it listed with nothing in it
                assert not whole[row, 0, i, j] or block.all(), "a block is not seen in whole"
                if not packed:
                    assert bool(some[row, 0, i, j]) == bool(block.any())


def test_lists_name_the_flagged_blocks_first():
    counts, order = flex.listed(torch.tensor([[False, True, True], [True, False, False]]))
    assert counts.tolist() == [2, 1]
    assert order[0, :2].tolist() == [1, 2]
    assert order[1, :1].tolist() == [0]


@pytest.mark.parametrize("packed", [False, True])
def test_the_rule_is_the_exact_mask(packed):
    begins = documents(200) if packed else None
    rule = flex.block_mask(200, 33, begins, CPU).mask_mod
    grid = torch.meshgrid(torch.arange(200), torch.arange(200), indexing="ij")
    for row, seen in enumerate(exact(200, 33, begins)):
        assert torch.equal(rule(torch.tensor(row), torch.tensor(0), *grid), seen)


def test_masks_are_made_once_for_all_layers():
    q, begins = torch.empty(2, 4, 200, 16), documents(200)
    assert flex.mask(q, 33, None) is flex.mask(q, 33, None)
    assert flex.mask(q, 33, begins) is flex.mask(q, 33, begins)
    assert flex.mask(q, 34, begins) is not flex.mask(q, 33, begins)


def test_the_kernel_is_not_asked_for_what_it_cannot_do():
    assert not flex.usable(torch.empty(1, 1, 1, 64, dtype=torch.float64))
    assert not flex.usable(torch.empty(1, 1, 1, 8))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device, until one is here")
@pytest.mark.parametrize("window", [100, 1000])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("softcap", [0.0, 2.0])
def test_the_kernel_equals_the_formula(window, packed, softcap):
    source = torch.Generator().manual_seed(0)
    begins = documents(700).cuda() if packed else None
    sizes = [(2, 4, 700, 64), *[(2, 2, 700, 64)] * 2]
    told = []
    for plain in (False, True):
        source.manual_seed(0)
        tensors = [torch.randn(s, generator=source).cuda().requires_grad_() for s in sizes]
        y = attend(*tensors, window, begins, Scoring(0.125, softcap, plain))
        y.sin().sum().backward()
        told.append((y, *(t.grad for t in tensors)))
    for fast, slow in zip(*told, strict=True):
        assert (fast - slow).abs().max() <= 1e-2 * slow.abs().max()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device, until one is here")
def test_a_growing_window_compiles_nothing_again():
    from torch._dynamo.utils import counters

    tensors = [torch.randn(1, 2, 2048, 64, device="cuda") for _ in range(3)]
    attend(*tensors, 128, None, Scoring(0.125))
    counters.clear()
    for window in range(256, 1793, 128):
        attend(*tensors, window, None, Scoring(0.125))
    assert counters["stats"]["unique_graphs"] == 0
