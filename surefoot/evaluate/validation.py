"""Validation: how well a model predicts held-out text, in nats a token and bits a byte."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Literal, NamedTuple, Protocol

import torch
from numpy.typing import NDArray

from surefoot.model.batch import Batch
from surefoot.model.context import Knob
from surefoot.model.model import Model

ENOUGH = 100_000  # tokens: ce is then known to about 0.01 nats


class Tokens(Protocol):
    """What validation asks of a tokenizer."""

    @property
    def token_bytes(self) -> NDArray: ...


class HeldOut(Protocol):
    """What validation asks of a dataset."""

    @property
    def tokenizer(self) -> Tokens: ...
    def validation(
        self, rows: int, extent: Literal["recipe", "final"] = ...
    ) -> Iterator[Batch]: ...  # as many batches as the recipe names, or up to 100,000 tokens


class Validated(NamedTuple):
    """What one validation found."""

    ce: float  # nats a token
    bpb: float  # bits a byte of text
    tokens: int


@torch.inference_mode()
def validate(
    model: Model,
    dataset: HeldOut,
    knobs: Mapping[str, Knob],
    device: torch.device,
    batches: int = 0,
    rows: int = 8,
) -> Validated:
    """Give ce, bpb and tokens over so many batches of held-out rows; 0 = up to 100,000 tokens."""
    sizes = torch.as_tensor(dataset.tokenizer.token_bytes, dtype=torch.int64).to(device)
    nats = text_nats = 0.0
    tokens = text_bytes = 0
    for number, batch in enumerate(dataset.validation(rows, "recipe" if batches else "final")):
        if number >= batches if batches else tokens >= ENOUGH:
            break
        batch = moved(batch, device)
        ce = model.ce(batch, knobs)
        counted = batch.targets >= 0
        weight = sizes[batch.targets.clamp(min=0, max=len(sizes) - 1)] * counted
        # a special token stands for no text: it leaves both sums of bpb, but not ce
        sums = torch.stack([ce.sum(), (ce * (weight > 0)).sum()]).tolist()
        nats, text_nats = nats + sums[0], text_nats + sums[1]
        tokens, text_bytes = tokens + int(counted.sum()), text_bytes + int(weight.sum())
    return Validated(
        ce=nats / tokens if tokens else math.nan,
        bpb=text_nats / (math.log(2) * text_bytes) if text_bytes else math.nan,
        tokens=tokens,
    )


def moved(batch: Batch, device: torch.device) -> Batch:
    """Put a batch where the model is."""
    return replace(
        batch,
        tokens=batch.tokens.to(device),
        targets=batch.targets.to(device),
        doc=None if batch.doc is None else batch.doc.to(device),
        positions=None if batch.positions is None else batch.positions.to(device),
    )
