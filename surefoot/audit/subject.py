"""What is audited: a module that gives numbers for each position, and how to run it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from surefoot.model.batch import IGNORED, Batch

Runs = Callable[[Tensor, "Trace", Tensor | None], Tensor]
Trace = dict[str, Tensor]  # what was chosen on the way, each with its time axis at 1
DTYPES = {"float64": torch.float64, "float32": torch.float32}


class Raised(Exception):
    """The model itself failed, at a length that the report names."""

    def __init__(self, time: int, error: Exception) -> None:
        first = str(error).strip().splitlines() or [""]
        said = f"{type(error).__name__}: {first[0]}" if first[0] else type(error).__name__
        super().__init__(f"it raises at T = {time} ({said[:160]})")


@dataclass(frozen=True)
class Subject:
    """A model under audit, in the precision of the verdict."""

    module: nn.Module
    run: Runs  # -> (batch, time, anything)
    dtype: str = "float64"
    vocab: int = 0  # ids are below it; 0: the input is floats
    width: int = 0  # of those floats
    documents: bool = False  # whether it takes which document each token is of
    logits: bool = True  # whether the output is one number for each id
    decode: Callable[[Tensor], Tensor] | None = None  # the same, one token at a time
    loss: Callable[[Batch], Tensor] | None = None
    edges: tuple[int, ...] = ()  # widths of blocks and windows
    rebind: Callable[[nn.Module], Runs] | None = None  # gives `run` for a copy of the module

    def around(self, module: nn.Module) -> "Subject":
        """Give the same subject over a copy of its module."""
        assert self.rebind is not None, "a model that can't be copied"
        return replace(self, module=module, run=self.rebind(module))

    def forward(
        self, inputs: Tensor, trace: Trace | None = None, doc: Tensor | None = None
    ) -> Tensor:
        """Run from the same random state each time, so that only the inputs differ."""
        torch.manual_seed(0)
        try:
            return self.run(inputs, {} if trace is None else trace, doc)
        except Exception as error:  # noqa: BLE001 (somebody else's model: what it says is reported)
            raise Raised(inputs.shape[1], error) from None

    def drawn(self, rows: int, time: int, seed: int = 0) -> Tensor:
        """Draw inputs."""
        source = torch.Generator().manual_seed(seed)
        if self.vocab:
            return torch.randint(0, self.vocab, (rows, time), generator=source)
        shape = (rows, time, self.width)
        return torch.randn(shape, generator=source, dtype=torch.float64).to(DTYPES[self.dtype])

    def redrawn(self, inputs: Tensor, where: Tensor) -> Tensor:
        """Change every input at the places (batch, time) that are marked."""
        source = torch.Generator().manual_seed(1)
        if self.vocab:
            shift = torch.randint(1, max(2, self.vocab), inputs.shape, generator=source)
            return torch.where(where, (inputs + shift) % self.vocab, inputs)
        other = torch.randn(inputs.shape, generator=source, dtype=torch.float64).to(inputs.dtype)
        return torch.where(where.unsqueeze(-1), other, inputs)

    def past_loss(self, inputs: Tensor, targets: Tensor, cuts: list[int]) -> Tensor:
        """Give the loss of the targets before each row's cut."""
        assert self.loss is not None, "asked for the loss of a model that has none"
        torch.manual_seed(0)
        kept = targets.masked_fill(~before(cuts, inputs.shape[1]), IGNORED)
        try:
            return self.loss(Batch(tokens=inputs, targets=kept, valid=int((kept >= 0).sum())))
        except Exception as error:  # noqa: BLE001 (somebody else's head)
            raise Raised(inputs.shape[1], error) from None


def of_model(
    model: Any, knobs: Mapping[str, Any], dtype: str = "float64", edges: tuple[int, ...] = ()
) -> Subject:
    """Take one of our own models, at the knobs of one step."""
    module = model.to(DTYPES[dtype]).eval()

    def decode(tokens: Tensor) -> Tensor:
        states = module.start(*tokens.shape)
        told: list[Tensor] = []
        for t in range(tokens.shape[1]):
            logits, states = module.extend(tokens[:, t : t + 1], states, knobs)
            told.append(logits)
        return torch.cat(told, dim=1)

    return Subject(
        module=module,
        run=lambda tokens, trace, doc: module(tokens, knobs, doc=doc, trace=trace),
        dtype=dtype,
        vocab=module.shape.vocab,
        documents=True,
        decode=decode,
        loss=lambda batch: module.loss(batch, knobs, batch.valid)[0],
        edges=edges,
    )


def before(cuts: list[int], time: int) -> Tensor:
    """Mark the past of each row: (cut, time)."""
    return torch.arange(time) < torch.tensor(cuts)[:, None]


def cuts_of(time: int, edges: tuple[int, ...] = ()) -> list[int]:
    """Choose where the past ends: at both ends, and around each edge of a block or window."""
    wanted = {1, 2, time // 4, time - 1}
    wanted |= {edge + near for edge in edges for near in (-1, 0, 1)}
    return sorted(cut for cut in wanted if 0 < cut < time) or [1]


def every_cut(time: int, most: int) -> list[int]:
    """Spread as many cuts as can be paid for evenly over the row."""
    count = max(1, min(time - 1, most))
    return sorted({1 + round(i * (time - 2) / max(1, count - 1)) for i in range(count)})
