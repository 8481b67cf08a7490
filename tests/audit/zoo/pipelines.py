"""Recipes whose batches or losses give the answer away, and recipes with a leak in one part."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from surefoot.audit.pipeline import Pipeline, own_loss
from surefoot.audit.reduced import reduced
from surefoot.audit.shake import shake
from surefoot.data.dataset import Dataset
from surefoot.model.batch import IGNORED, Batch
from surefoot.model.context import Context
from surefoot.model.model import Model, build
from surefoot.plan.shape import shape, with_vocab
from surefoot.recipe.load import load
from surefoot.recipe.schema import Recipe

Arrays = tuple[NDArray[Any], NDArray[np.int64]]


def recipe(name: str = "starter", **changes: Any) -> Recipe:
    """Open one of our recipes."""
    return with_vocab(load(name, changes).recipe)


class Unshifted(Dataset):
    """Targets are the inputs."""

    def cut(self, reader: Any, starts: NDArray[np.int64]) -> Arrays:
        tokens, _ = super().cut(reader, starts)
        return tokens, tokens.astype(np.int64)


class ShiftedTwice(Dataset):
    """Targets are two tokens ahead: every other label is an input that is still to come."""

    def cut(self, reader: Any, starts: NDArray[np.int64]) -> Arrays:
        tokens, targets = super().cut(reader, starts)
        last = np.full_like(targets[:, :1], IGNORED)
        return tokens, np.concatenate([targets[:, 1:], last], axis=1)


class Backwards(Dataset):
    """Targets are the tokens before: already read."""

    def cut(self, reader: Any, starts: NDArray[np.int64]) -> Arrays:
        tokens, _ = super().cut(reader, starts)
        first = np.full((len(tokens), 1), IGNORED)
        return tokens, np.concatenate([first, tokens[:, :-1].astype(np.int64)], axis=1)


class Across(Dataset):
    """A row of one document ends with a target from the next."""

    def filled(self, reader: Any, spans: list[tuple[int, int]]) -> Arrays:
        longer = [(a, min(b + 1, len(reader.tokens))) for a, b in spans]
        tokens, targets = super().filled(reader, longer)
        for row, (a, b) in zip(tokens, spans, strict=True):
            row[b - a :] = self.tokenizer.pad
        return tokens, targets


class Misparted(Dataset):
    """Documents are said to begin a token before they do."""

    def made(self, tokens: Any, targets: Any, position: int = 0) -> Batch:
        batch = super().made(tokens, targets, position)
        assert batch.doc is not None
        return replace(batch, doc=torch.cat([batch.doc[:, 1:], batch.doc[:, -1:]], dim=1))


def of_inputs(model: Model, batch: Batch, knobs: Mapping[str, Any]) -> Tensor:
    """Give a loss that asks for the inputs."""
    return own_loss(model, replace(batch, targets=batch.tokens), knobs)


def of_masked(model: Model, batch: Batch, knobs: Mapping[str, Any]) -> Tensor:
    """Give a loss in which masked targets count as token 0."""
    return own_loss(model, replace(batch, targets=batch.targets.clamp(min=0)), knobs)


DOCUMENTS = {"data.packing": "document"}
MASKED = {"data.boundaries": "mask"}
# name -> what breaks it, the recipe's changes, and the probe that has to find it
BROKEN: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "unshifted labels": ({"builder": Unshifted}, {}, "labels"),
    "labels two ahead": ({"builder": ShiftedTwice}, {}, "labels"),
    "labels already read": ({"builder": Backwards}, {}, "labels"),
    "labels across documents": ({"builder": Across}, DOCUMENTS, "labels"),
    "documents cut elsewhere": ({"builder": Misparted}, MASKED, "labels"),
    "a loss of the inputs": ({"loss": of_inputs}, {}, "canary"),
    "masked labels that count": ({"loss": of_masked}, {}, "labels: masked"),
}


def broken(name: str) -> tuple[Recipe, Pipeline]:
    """Give a recipe, and its pipeline with one part broken."""
    part, changes, _ = BROKEN[name]
    whole = recipe(**changes)
    return whole, Pipeline(reduced(whole), **part)


class Ahead(nn.Module):
    """Puts a look at the next token behind a part of ours."""

    causal = True

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor, *rest: Any) -> Tensor:
        return self.inner(nn.functional.pad(x[:, 1:], (0, 0, 0, 1)), *rest)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("inner"), name)


class ParallelLoss(nn.Module):
    """A head with a second loss, which reads e + 1; its logits are as they should be."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner
        self.mix = nn.Linear(inner.unembedding().shape[1], inner.unembedding().shape[1])

    def forward(self, top: Tensor) -> Tensor:
        return self.inner(top)

    def ce(self, top: Tensor, batch: Batch) -> Tensor:
        return self.inner.ce(top, batch)

    def loss(self, top: Tensor, batch: Batch, ctx: Context, valid: int) -> Any:
        loss, stats = self.inner.loss(top, batch, ctx, valid)
        later = self.mix(nn.functional.pad(top[:, 1:], (0, 0, 0, 1)))
        return loss + 0.2 * self.inner.loss(later, batch, ctx, valid)[0], stats


class SmearedStream(nn.Module):
    """A stream that reads from the position after."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner

    def read(self, x: Tensor) -> Tensor:
        return self.inner.read(0.5 * (x + x.roll(-1, dims=1)))

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("inner"), name)


def mixer_ahead(model: Model) -> None:
    model.layers[1].mixer = Ahead(model.layers[1].mixer)


def ffn_ahead(model: Model) -> None:
    model.layers[0].ffn = Ahead(model.layers[0].ffn)


def head_ahead(model: Model) -> None:
    model.head = ParallelLoss(model.head)


def stream_ahead(model: Model) -> None:
    model.layers[1].stream_ffn = SmearedStream(model.layers[1].stream_ffn)


# name -> what is done to the model, and what the audit has to name
PARTS: dict[str, tuple[Callable[[Model], None], str]] = {
    "mixer reads one ahead": (mixer_ahead, "layer 1 · mixer (windowed)"),
    "feed-forward reads one ahead": (ffn_ahead, "layer 0 · ffn"),
    "second loss reads e+1": (head_ahead, "the head's loss"),
    "stream reads one ahead": (stream_ahead, "layer 1 · stream"),
}


def spoilt(name: str) -> tuple[Model, Recipe]:
    """Build a small model of ours, and spoil one part of it."""
    narrow = reduced(recipe("windowed-tiny"))
    model = build(narrow.model, shape(narrow), 0)
    shake(model, 0)
    PARTS[name][0](model)
    return model.double(), narrow


NAMES = [*BROKEN, *PARTS]
