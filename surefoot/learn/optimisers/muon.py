"""Muon: each matrix moves by its momentum, made orthogonal.

M <- mu M + (1-mu) G; U = (1-mu) G + mu M; O = NewtonSchulz(U); W <- W(1 - lr wd) - lr s O,
s = sqrt(max(1, out/in)) ("spectral") or .2 sqrt(max(out, in)) ("rms"). The lerp form keeps the
size of M when mu moves. A parameter that holds several maps (`split`) is treated map by map.
Keller Jordan, https://kellerjordan.github.io/posts/muon; "rms": arXiv 2502.16982.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from surefoot.errors import Problem, RecipeError
from surefoot.learn import foreach
from surefoot.learn.orthogonal import Scale, orthogonalised, scale_of
from surefoot.recipe.choice import Choice

if TYPE_CHECKING:
    from surefoot.learn.shards import Shards

serves = ("matrix",)
sharded = True
STACKED_ON_CPU = 64  # a CPU's bmm is no faster than a loop above this, and holds all at once
STACK_ELEMENTS = 2**28  # of one stack on a GPU: 1 GiB in fp32


class Options(Choice):
    """How matrices learn."""

    kind: str = "muon"
    lr: Annotated[float, Field(ge=0)] = 0.02
    """Peak learning rate"""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Share of a weight taken off each update, times lr"""
    scale: Scale = "spectral"
    """Size of an update by shape: spectral keeps lr over widths, rms takes AdamW's lr"""
    nesterov: bool = True
    """Looks ahead: mixes the gradient into the momentum once more"""
    ns_steps: Annotated[int, Field(ge=1, le=20)] = 5
    """Newton-Schulz iterations"""
    ns_precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic of the iterations: auto is bf16 on a GPU, fp32 on a CPU"""


PRECISIONS = {"auto": None, "fp32": torch.float32, "bf16": torch.bfloat16}


def slot_bytes(options: Options) -> float:  # noqa: ARG001 (part of the contract)
    """Count the bytes of state a parameter."""
    return 4.0


@dataclass(frozen=True, slots=True)
class Piece:
    """One map: some rows of one parameter, and which of these lie on this rank."""

    name: str
    rows: int
    columns: int
    start: int  # in the tensor that lies here
    here: slice

    def of(self, tensor: Tensor) -> Tensor:
        """View this map's rows of the parameter's tensor, gradient or slot."""
        return tensor[self.start : self.start + self.here.stop - self.here.start]


class Optimiser:
    """Moves matrices by their orthogonalised momentum."""

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        options: Options,
        splits: Mapping[str, tuple[int, ...]] | None = None,
        shards: "Shards | None" = None,
    ) -> None:
        self.parameters = dict(parameters)
        self.options, self.shards = options, shards
        self.momentum = {name: torch.zeros_like(p.data) for name, p in self.parameters.items()}
        pieces = [
            piece
            for name, p in self.parameters.items()
            for piece in cut(name, p, (splits or {}).get(name), shards)
        ]
        self.stacks = stacked(pieces, self.parameters)

    def slots(self) -> dict[str, Tensor]:
        """Give the live state by name."""
        return {f"{name}/momentum": tensor for name, tensor in self.momentum.items()}

    @torch.no_grad()
    def update(self, lr: float, momentum: float) -> float:
        """Move the weights once, by the gradients that lie there; give the rate that was used."""
        for stack in self.stacks:
            live = [piece for piece in stack if self.parameters[piece.name].grad is not None]
            if live:
                self.move(live, lr, momentum)
        return lr

    def move(self, stack: list[Piece], lr: float, momentum: float) -> None:
        """Move maps of one shape; all temporaries are of this stack's size."""
        options, first = self.options, stack[0]
        gradients = [piece.of(self.gradient(piece.name)) for piece in stack]
        moments = [piece.of(self.momentum[piece.name]) for piece in stack]
        weights = [piece.of(self.parameters[piece.name].data) for piece in stack]
        foreach.lerp_into(moments, gradients, 1.0 - momentum)
        ahead = foreach.lerp(gradients, moments, momentum) if options.nesterov else moments
        dtype = PRECISIONS[options.ns_precision]
        directions = orthogonalised(self.whole(stack, ahead), options.ns_steps, dtype).unbind(0)
        if options.weight_decay:
            foreach.scale(weights, 1.0 - lr * options.weight_decay)
        size = lr * scale_of(first.rows, first.columns, options.scale)
        own = [one[piece.here] for one, piece in zip(directions, stack, strict=True)]
        foreach.add(weights, own, alpha=-size)

    def whole(self, stack: list[Piece], parts: Sequence[Tensor]) -> Tensor:
        """Give maps whole, in a stack: every rank orthogonalises all of them."""
        if self.shards is None:
            return torch.stack(list(parts)) if len(parts) > 1 else parts[0][None]  # no copy of one
        whole = parts[0].new_zeros(len(stack), stack[0].rows, stack[0].columns)
        for one, piece, part in zip(whole, stack, parts, strict=True):
            one[piece.here] = part
        return self.shards.total(whole)  # where one rank has a row, all others have zeros

    def gradient(self, name: str) -> Tensor:
        """Give a parameter's gradient."""
        gradient = self.parameters[name].grad
        assert gradient is not None, f"{name} has no gradient"
        return gradient


def cut(
    name: str, parameter: nn.Parameter, split: tuple[int, ...] | None, shards: "Shards | None"
) -> list[Piece]:
    """Cut a parameter into the maps that it holds."""
    if parameter.dim() != 2:
        raise RecipeError(
            Problem(
                what=name,
                value=f"shape {tuple(parameter.shape)}",
                why="Muon moves matrices of two axes, and this parameter of role matrix has "
                f"{parameter.dim()}",
                instead='Write optim.matrix.kind="adam", or declare another role for it',
            )
        )
    rows, columns = parameter.shape
    first, end = 0, rows
    if shards is not None:
        rows = shards.rows(name)
        first, end = shards.span(rows)
    heights = split or (rows,)
    assert sum(heights) == rows, f"{name}: split {heights} doesn't add up to {rows} rows"
    starts = [sum(heights[:i]) for i in range(len(heights))]
    pieces: list[Piece] = []
    for at, height in zip(starts, heights, strict=True):
        here = slice(max(at, min(first, at + height)) - at, min(at + height, max(end, at)) - at)
        pieces.append(Piece(name, height, columns, max(0, at - first), here))
    return pieces


def stacked(pieces: list[Piece], parameters: Mapping[str, nn.Parameter]) -> list[list[Piece]]:
    """Group maps of one shape that are worth one batched product."""
    groups: dict[tuple[object, ...], list[Piece]] = {}
    for piece in pieces:
        weight = parameters[piece.name]
        groups.setdefault((piece.rows, piece.columns, weight.dtype, weight.device), []).append(
            piece
        )
    stacks: list[list[Piece]] = []
    for group in groups.values():
        first = group[0]
        size = max(1, STACK_ELEMENTS // (first.rows * first.columns))
        on_cpu = parameters[first.name].device.type == "cpu"
        if on_cpu and min(first.rows, first.columns) > STACKED_ON_CPU:
            size = 1
        stacks += [group[at : at + size] for at in range(0, len(group), size)]
    return stacks
