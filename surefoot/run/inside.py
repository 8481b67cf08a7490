"""Looks into a step before it is done: what carries its loss, and what its gradient."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from surefoot.data.dataset import Dataset
from surefoot.data.origins import NONE, origins
from surefoot.learn import foreach, precision
from surefoot.learn.collect import forward, placed
from surefoot.learn.learner import Learner
from surefoot.model.batch import IGNORED, Batch
from surefoot.plan.plan import Knobs

NEAR = 24  # tokens shown on each side of a document's worst target


@dataclass(frozen=True, slots=True)
class Piece:
    """What one document contributes to a step."""

    document: int  # its number in the training text
    row: int
    targets: int
    ce: float  # mean over its targets, nats
    loss_share: float  # of the whole step's ce
    target_share: float
    text: str  # around its worst target
    worst: str  # that target, decoded
    worst_ce: float


@dataclass(frozen=True, slots=True)
class Inside:
    """What a step is made of."""

    pieces: list[Piece]  # those that carry more than their part of the loss first
    grad_norms: dict[str, float]  # by layer, and of what is no layer


def look(
    learner: Learner,
    dataset: Dataset,
    batch: Batch,
    knobs: Knobs,
    skips: Sequence[tuple[int, int]] = (),
) -> Inside:
    """Measure a step's loss by document and its gradient by layer; nothing is moved."""
    scores = scored(learner, batch, knobs).cpu().double().numpy()
    documents = origins(dataset, knobs.step, skips)
    pieces = pieces_of(dataset, batch, scores, documents)
    return Inside(pieces, norms(learner, batch, knobs))


@torch.no_grad()
def scored(learner: Learner, batch: Batch, knobs: Knobs) -> Tensor:
    """Give the cross-entropy of every target."""
    model: Any = learner.model
    found: list[Tensor] = []
    for micro in batch.micro(learner.micro_rows):
        with precision.autocast(learner.precision, learner.device):
            found.append(model.ce(placed(micro, learner.device), knobs.values))
    return torch.cat(found)


def pieces_of(
    dataset: Dataset, batch: Batch, scores: NDArray[Any], documents: NDArray[np.int64]
) -> list[Piece]:
    """Add scores up by document, the one that stands out most first."""
    counts = (batch.targets.numpy() != IGNORED) & (documents != NONE)
    total, targets = float(np.nansum(scores[counts])), max(1, int(counts.sum()))
    found: list[Piece] = []
    for row in range(len(documents)):
        for document in np.unique(documents[row][counts[row]]):
            places = np.flatnonzero((documents[row] == document) & counts[row])
            own = scores[row][places]
            found.append(
                Piece(
                    document=int(document),
                    row=row,
                    targets=len(places),
                    ce=float(own.mean()),
                    loss_share=float(own.sum()) / total if total else math.nan,
                    target_share=len(places) / targets,
                    **worst(dataset, batch, row, places, own),
                )
            )
    return sorted(found, key=stands_out, reverse=True)


def stands_out(piece: Piece) -> float:
    """Weigh how much more of the loss a piece carries than its size explains; NaN most of all."""
    more = piece.loss_share - piece.target_share
    return more if math.isfinite(more) and math.isfinite(piece.ce) else math.inf


def worst(
    dataset: Dataset, batch: Batch, row: int, places: NDArray[Any], own: NDArray[Any]
) -> dict[str, Any]:
    """Show the target that cost most, in what stands around it in its document."""
    at = int(places[int(np.argmax(np.where(np.isnan(own), np.inf, own)))])
    first = max(int(places[0]), at - NEAR)
    around = batch.targets[row, first : at + NEAR + 1]
    ids = [int(one) for one in around if int(one) != IGNORED]
    decode = dataset.tokenizer.decode
    score = float(own[list(places).index(at)])
    return {
        "text": decode(ids),
        "worst": decode([int(batch.targets[row, at])]),
        "worst_ce": score,
    }


def norms(learner: Learner, batch: Batch, knobs: Knobs) -> dict[str, float]:
    """Give the gradient's norm by layer, before clipping, and leave no gradient behind."""
    learner.drop_gradients()
    for micro in enumerate(batch.micro(learner.micro_rows)):
        loss, _ = forward(learner, learner.loss, micro, knobs, batch.valid)
        loss.backward()
    gradients = learner.gradients()
    each = foreach.norms(list(gradients.values())).tolist()
    squares: dict[str, float] = {}
    for name, norm in zip(gradients, each, strict=True):
        squares[part_of(name)] = squares.get(part_of(name), 0.0) + norm * norm
    learner.drop_gradients()
    return {name: math.sqrt(square) for name, square in squares.items()}


def part_of(parameter: str) -> str:
    """Name the layer that a parameter belongs to, or the part of the model beside the layers."""
    first, _, rest = parameter.partition(".")
    return f"layers.{rest.partition('.')[0]}" if first == "layers" else first
