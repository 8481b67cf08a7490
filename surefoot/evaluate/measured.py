"""Held-out ce and bits a byte with their standard errors, over rows as the sampled units."""

import math
from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from surefoot.evaluate.validation import Tokens, moved
from surefoot.model.batch import Batch
from surefoot.model.context import Knob
from surefoot.model.model import Model


class HeldOut(Protocol):
    """What is asked of a dataset."""

    @property
    def tokenizer(self) -> Tokens: ...
    def validation(self, rows: int, extent: Literal["all"] = ...) -> Iterator[Batch]: ...


class Measured(NamedTuple):
    """Means over held-out text, and how far they may be off."""

    ce: float  # nats a token
    ce_se: float
    bpb: float  # bits a byte of text
    bpb_se: float
    tokens: int
    rows: int


@torch.inference_mode()
def measure(
    model: Model,
    dataset: HeldOut,
    knobs: Mapping[str, Knob],
    device: torch.device,
    tokens: int = 100_000,
    rows: int = 8,
) -> Measured:
    """Read so many held-out tokens; the tokens of a row go up and down together, rows don't."""
    sizes = torch.as_tensor(dataset.tokenizer.token_bytes, dtype=torch.int64).to(device)
    found: list[Tensor] = []
    seen = 0
    for batch in dataset.validation(rows, "all"):
        if seen >= tokens:
            break
        batch = moved(batch, device)
        ce = model.ce(batch, knobs).double()
        counted = batch.targets >= 0
        size = sizes[batch.targets.clamp(min=0, max=len(sizes) - 1)] * counted
        # a special token stands for no text: it leaves both sums of bpb, but not ce
        parts = (ce, counted, ce * (size > 0), size)
        per_row = torch.stack([part.double().reshape(len(ce), -1).sum(1) for part in parts], 1)
        found.append(per_row.cpu())
        seen += int(counted.sum())
    if not seen:
        return Measured(math.nan, math.nan, math.nan, math.nan, 0, 0)
    sums = torch.cat(found)
    ce_mean, ce_se = ratio(sums[:, 0], sums[:, 1])
    bpb, bpb_se = ratio(sums[:, 2] / math.log(2), sums[:, 3])
    return Measured(ce_mean, ce_se, bpb, bpb_se, seen, len(sums))


def ratio(above: Tensor, below: Tensor) -> tuple[float, float]:
    """Give sum(above)/sum(below) and its standard error over the units (Cochran 1977, 6.3)."""
    total, count = float(below.sum()), len(below)
    if not total:
        return math.nan, math.nan
    mean = float(above.sum()) / total
    if count < 2:
        return mean, math.nan
    spread = float((above - mean * below).square().sum())
    return mean, math.sqrt(spread * count / (count - 1)) / total
