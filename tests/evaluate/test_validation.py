"""Validation: sums over all targets, in nats a token and bits a byte."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from surefoot.evaluate.validation import ENOUGH, validate
from surefoot.model.batch import IGNORED, Batch
from surefoot.model.model import Model, build
from surefoot.recipe.facts import Shape
from surefoot.recipe.schema import Model as Table

CPU = torch.device("cpu")


class Text:
    """A tokenizer that knows how many bytes its tokens stand for."""

    def __init__(self, sizes: list[int]) -> None:
        self.token_bytes = np.array(sizes)


class HeldOut:
    """Held-out rows that were written down beforehand."""

    def __init__(self, sizes: list[int], batches: list[Batch]) -> None:
        self.tokenizer, self.batches, self.asked = Text(sizes), batches, 0

    def validation(self, rows: int, extent: str = "recipe") -> Iterator[Batch]:
        for batch in self.batches:
            self.asked += 1
            yield batch


def uniform(vocab: int) -> Model:
    """A model that predicts nothing: a free head begins at zero."""
    recipe = Table.model_validate({"dim": 16, "layers": 1, "tied": False, "mixers": {"L": HAAR}})
    return build(recipe, Shape(16, 1, heads=4, kv_heads=4, vocab=vocab, seq_len=8), 0)


HAAR = {"kind": "haar", "levels": 2}


def rows(vocab: int, count: int = 3, time: int = 8, low: int = 0) -> Batch:
    source = torch.Generator().manual_seed(count)
    ids = torch.randint(low, vocab, (count, time + 1), generator=source)
    return Batch(ids[:, :-1], ids[:, 1:].clone(), valid=count * time)


def test_a_uniform_model_of_bytes_reads_eight_bits_a_byte() -> None:
    found = validate(uniform(256), HeldOut([1] * 256, [rows(256), rows(256)]), {}, CPU)
    assert found.bpb == pytest.approx(8.0, abs=1e-6)
    assert found.ce == pytest.approx(math.log(256), abs=1e-6)
    assert found.tokens == 48


def test_tokens_of_two_bytes_at_ce_ln_4_are_one_bit_a_byte() -> None:
    assert validate(uniform(4), HeldOut([2] * 4, [rows(4)]), {}, CPU).bpb == pytest.approx(1.0)


def test_special_tokens_leave_both_sums_of_bpb_but_count_in_ce() -> None:
    model = uniform(8)
    with torch.no_grad():
        model.head.weight[0] = torch.randn(16, generator=torch.Generator().manual_seed(0))
    batch = rows(8, count=6)
    found = validate(model, HeldOut([0, *[3] * 7], [batch]), {}, CPU)
    ce = model.ce(batch, {})
    text = batch.targets > 0
    assert found.tokens == 48
    assert not text.all()
    assert found.ce == pytest.approx(float(ce.mean()), rel=1e-6)
    assert found.bpb == pytest.approx(float(ce[text].mean()) / 3 / math.log(2), rel=1e-6)


def test_ignored_targets_count_for_nothing_and_batches_weigh_by_their_targets() -> None:
    model = uniform(8)
    with torch.no_grad():
        model.head.weight.normal_(generator=torch.Generator().manual_seed(0))
    first, second = rows(8, 2), rows(8, 5)
    second.targets[:4] = IGNORED
    found = validate(model, HeldOut([1] * 8, [first, second]), {}, CPU)
    every = torch.cat([model.ce(first, {}).flatten(), model.ce(second, {})[4]])
    assert found.tokens == 24
    assert found.ce == pytest.approx(float(every.mean()), rel=1e-6)


def test_so_many_batches_are_read_as_are_asked_for() -> None:
    data = HeldOut([1] * 8, [rows(8)] * 5)
    assert validate(uniform(8), data, {}, CPU, 2).tokens == 48
    large = Batch(torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1, 1, dtype=torch.int64))
    assert validate(uniform(8), HeldOut([1] * 8, [large] * 5), {}, CPU).tokens == 5


def test_without_a_number_it_stops_at_enough_tokens() -> None:
    part = torch.zeros(50, 1000, dtype=torch.int64)
    data = HeldOut([1] * 4, [Batch(part, part)] * 5)
    assert validate(uniform(4), data, {}, CPU).tokens == ENOUGH
    assert data.asked == 3  # the third was looked at, and not computed


def test_nothing_held_out_is_no_number_rather_than_a_good_one() -> None:
    found = validate(uniform(4), HeldOut([1] * 4, []), {}, CPU)
    assert math.isnan(found.ce)
    assert math.isnan(found.bpb)
    assert found.tokens == 0


def test_validation_changes_no_parameter() -> None:
    model = uniform(8)
    before = [p.clone() for p in model.parameters()]
    validate(model, HeldOut([1] * 8, [rows(8)]), {}, CPU)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert all(p.grad is None for p in model.parameters())
