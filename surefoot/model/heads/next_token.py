"""Predicts the next token: final norm, unembedding, logit cap, chunked cross-entropy.

logits = cap( W rms(x) ), W: [vocab, dim], the embedding itself if tied;
loss = (1-e) ce + e mean_v(-log p_v) + z lse^2, the mean over valid targets.
"""

from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from surefoot.model.batch import Batch
from surefoot.model.chunked_loss import Rows, Terms, chunked_loss
from surefoot.model.context import Context
from surefoot.model.logit_cap import capped
from surefoot.model.parameters import Declared, Norm, parameter
from surefoot.recipe.choice import Choice
from surefoot.recipe.facts import Facts, Shape

SATURATED = 0.933  # of the cap: 28 of 30
LARGE = 50.0  # where there is no cap


class Options(Choice):
    """What is done to the logits, and what is added to the loss."""

    kind: str = "next_token"
    logit_cap: Annotated[float, Field(ge=0)] = 0.0
    """Bound of the logits; 0 = none"""
    logit_cap_kind: Literal["tanh", "rational"] = "tanh"
    """Form of the bound"""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the target spread over the whole vocabulary"""
    z_loss: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the squared log-partition"""


class Head(nn.Module):
    """What becomes of the top of the stream: logits, and a loss."""

    weight: Tensor

    def __init__(self, shape: Shape, options: Options, weight_owner: nn.Module | None) -> None:
        super().__init__()
        self.options = options
        self.norm = Norm(shape.dim, shape.norm_eps)
        # A tuple hides the embedding from nn.Module: the tied weight stays one parameter, with one
        # name, also when it moves from the meta device.
        self.tied_to: tuple[Any, ...] = () if weight_owner is None else (weight_owner,)
        if weight_owner is None:
            # Zero: ce starts at exactly ln V, and no random direction has to be unlearnt first.
            parameter(self, "weight", (shape.vocab, shape.dim), Declared("head"))

    def unembedding(self) -> Tensor:
        """Give the matrix that turns hidden into logits."""
        return self.tied_to[0].weight if self.tied_to else self.weight

    def forward(self, top: Tensor) -> Tensor:
        """Give capped logits, in fp32 at least."""
        logits = nn.functional.linear(self.norm(top), self.unembedding())
        logits = logits if logits.dtype == torch.float64 else logits.float()
        return capped(logits, self.options.logit_cap, self.options.logit_cap_kind)

    def loss(
        self, top: Tensor, batch: Batch, ctx: Context, valid: int
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Give the loss, and stats that add up over the micro-batches of a step."""
        o = self.options
        terms = Terms(o.logit_cap, o.logit_cap_kind, o.label_smoothing, o.z_loss)
        loss, rows = self.scored(top, batch, valid, terms)
        limit = SATURATED * o.logit_cap if o.logit_cap else LARGE
        stats = {
            "ce": rows.ce.sum() / valid,
            "entropy": rows.entropy.sum() / valid,
            "z2": rows.z2.sum() / valid,
            "logit_sat_share": (rows.top >= limit).sum() / valid,
            "logit_max": rows.top.max(),
        }
        if o.label_smoothing:
            stats["ce_smooth"] = rows.smooth.sum() / valid
        return loss, stats

    def ce(self, top: Tensor, batch: Batch) -> Tensor:
        """Give the hard cross-entropy of each target; 0 where it is ignored."""
        terms = Terms(self.options.logit_cap, self.options.logit_cap_kind)
        return self.scored(top, batch, 1, terms)[1].ce.view_as(batch.targets)

    def scored(self, top: Tensor, batch: Batch, valid: int, terms: Terms) -> tuple[Tensor, Rows]:
        """Run the chunked loss over all positions."""
        hidden = self.norm(top).flatten(0, 1)
        return chunked_loss(hidden, self.unembedding(), batch.targets.flatten(), valid, terms)


def facts(shape: Shape, options: Options, tied: bool) -> Facts:
    """Count what the head costs; logits never outlive their chunk, so they are no activation."""
    own = {} if tied else {"head": shape.vocab * shape.dim}
    return Facts(
        parameters={"scalar": shape.dim, **own},
        flops=2.0 * shape.vocab * shape.dim,
        activations=3.0 * shape.dim,  # the norm's input and output, and the written gradient
    )


def examples() -> list[Options]:
    """Give options that show the range of what this head can be."""
    full = Options(logit_cap=5.0, label_smoothing=0.1, z_loss=1e-2)
    return [Options(), full, full.model_copy(update={"logit_cap_kind": "rational"})]
