"""The causal Haar transform: identity, support, kernel, documents, rings."""

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from surefoot.model.context import Context
from surefoot.model.mixers import haar
from surefoot.model.model import context
from surefoot.model.parameters import initialise
from surefoot.recipe.facts import Shape

SHAPE = Shape(dim=8, layers=1, heads=4, kv_heads=2, vocab=64, seq_len=200)


def mixer(levels: int = 6, gains: str = "head", shaken: bool = True) -> haar.Mixer:
    """A mixer in fp64, its gains and output map random unless it is wanted as initialised."""
    options = haar.Options.model_validate({"levels": levels, "gains": gains})
    made = haar.Mixer(SHAPE, options, 0).double()
    initialise(made, 1)
    if shaken:
        source = torch.Generator().manual_seed(2)
        with torch.no_grad():
            for weight in (made.gains, made.out.weight):
                weight.copy_(torch.randn(weight.shape, generator=source, dtype=torch.float64))
    return made


def passed(time: int, doc: Tensor | None = None, batch: int = 2) -> Context:
    return context(torch.zeros(batch, time, dtype=torch.int64), doc=doc)


def random(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(5), dtype=dtype)


def test_with_all_gains_one_the_core_is_the_identity() -> None:
    u = random(2, 131, 8)
    core = mixer(shaken=False).core(u, passed(131), haar.delayed)
    assert (core - u).abs().max() <= 1e-15


def test_as_initialised_the_branch_is_zero() -> None:
    assert not mixer(shaken=False)(random(2, 17, 8), passed(17)).any()


@pytest.mark.parametrize("levels", [1, 3, 6])
def test_support_is_exactly_two_to_the_levels(levels: int) -> None:
    u = torch.zeros(1, 200, 8, dtype=torch.float64)
    u[:, 10] = 1
    out = mixer(levels).core(u, passed(200, batch=1), haar.delayed)[0]
    touched = out.abs().sum(1).nonzero().flatten()
    assert touched.tolist() == list(range(10, 10 + 2**levels))


@pytest.mark.parametrize("gains", ["head", "channel"])
def test_it_is_the_convolution_with_its_own_impulse_response(gains: str) -> None:
    made, time = mixer(gains=gains), 131
    impulse = torch.zeros(1, time, 8, dtype=torch.float64)
    impulse[:, 0] = 1
    kernel = made.core(impulse, passed(time, batch=1), haar.delayed)[0]
    u = random(2, time, 8)
    right = torch.stack(
        [sum(kernel[lag] * u[:, t - lag] for lag in range(t + 1)) for t in range(time)], dim=1
    )
    assert (made.core(u, passed(time), haar.delayed) - right).abs().max() <= 1e-13


def test_the_sum_by_parts_is_the_formula_of_differences() -> None:
    made = mixer(4)
    u = random(2, 50, 8)
    gains = made.gains.repeat_interleave(2, dim=0)
    average, right = u, torch.zeros_like(u)
    for level in range(4):
        after = (average + haar.delayed(average, 2**level)) / 2
        right += gains[:, level] * (average - after)
        average = after
    right += gains[:, 4] * average
    assert (made.core(u, passed(50), haar.delayed) - right).abs().max() <= 1e-13


def test_each_document_is_as_it_is_alone() -> None:
    made, lengths = mixer(), [1, 1, 40, 63, 26]
    doc = torch.repeat_interleave(torch.arange(5), torch.tensor(lengths)).expand(2, -1)
    x = random(2, 131, 8)
    packed = made.core(x, passed(131, doc), haar.delayed)
    alone = [made.core(part, passed(part.shape[1]), haar.delayed) for part in x.split(lengths, 1)]
    assert torch.equal(packed, torch.cat(alone, 1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("splits", [[131], [1] * 131, [130, 1], [1, 130], [40, 7, 64, 20]])
def test_decoding_is_bit_equal_to_training(dtype: torch.dtype, splits: list[int]) -> None:
    made = mixer().to(dtype)
    u = random(2, 131, 8, dtype=dtype)
    state = made.start(2, 131, u.device, dtype)
    assert state.values.shape == (2, 63, 8)
    parts = []
    for part in u.split(splits, 1):
        held = state
        parts.append(made.core(part, passed(1), lambda a, step: haar.turned(held, a, step)))  # noqa: B023
        state = haar.Rings(state.length + part.shape[1], state.values)
    assert torch.equal(torch.cat(parts, 1), made.core(u, passed(131), haar.delayed))


def test_a_snapshot_can_be_returned_to() -> None:
    made = mixer()
    x = random(2, 60, 8)
    state = made.start(2, 99, x.device, x.dtype)
    _, state = made.extend(x[:, :20], passed(20), state)
    kept = state.snapshot()
    first, _ = made.extend(x[:, 20:36], passed(16), state)
    again, _ = made.extend(x[:, 20:36], passed(16), state.restore(kept))
    assert torch.equal(first, again)
    assert state.nbytes() == haar.facts(SHAPE, haar.Options()).state * 2 * 8


@pytest.mark.parametrize("levels", [0, 17])
def test_levels_out_of_range_are_refused(levels: int) -> None:
    with pytest.raises(ValidationError):
        haar.Options(levels=levels)
