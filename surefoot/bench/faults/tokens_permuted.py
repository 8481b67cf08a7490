"""Reads the corpus by another tokenizer's numbers from a step on: every id means another token."""

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from surefoot.bench.watched import spoil
from surefoot.bench.watched.fault import Fault
from surefoot.model.batch import Batch

if TYPE_CHECKING:
    from surefoot.run.run import Run

FAULT = Fault(finds=("loss_gap",), within=16, sudden=True, curable=True)


def plant(run: "Run", step: int) -> None:
    """Map tokens and targets through one permutation, until the run is taken back."""
    source = torch.Generator().manual_seed(step)
    other = torch.randperm(run.dataset.tokenizer.vocab, generator=source)

    def mapped(batch: Batch, number: int) -> Batch:  # noqa: ARG001 (the contract of a change)
        return replace(batch, tokens=other[batch.tokens], targets=other[batch.targets])

    spoil.batches(run, step, spoil.EVER, mapped)
