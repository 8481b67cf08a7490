"""What is audited: a module from token ids to numbers per position, and how to run it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

Trace = dict[str, Tensor]


@dataclass(frozen=True)
class Subject:
    """A model under audit, in the precision of the verdict."""

    module: nn.Module
    run: Callable[[Tensor, Trace], Tensor]  # token ids, trace -> (batch, time, anything)
    vocab: int
    dtype: torch.dtype

    def forward(self, tokens: Tensor, trace: Trace | None = None) -> Tensor:
        """Run from the same random state each time, so that only the tokens differ."""
        torch.manual_seed(0)
        return self.run(tokens, {} if trace is None else trace)

    def embedding(self) -> nn.Module:
        """Find the module that turns ids into vectors."""
        for name, module in self.module.named_modules():
            if isinstance(module, nn.Embedding) or name == "embedding":
                return module
        raise LookupError("the model has no embedding to take gradients at")


def of_model(model: Any, knobs: Mapping[str, Any], dtype: torch.dtype) -> Subject:
    """Take one of our own models, at the knobs of one step."""
    return Subject(
        module=model.to(dtype).eval(),
        run=lambda tokens, trace: model(tokens, knobs, trace=trace),
        vocab=model.shape.vocab,
        dtype=dtype,
    )


def random_tokens(subject: Subject, rows: int, time: int, seed: int) -> Tensor:
    """Draw token ids."""
    source = torch.Generator().manual_seed(seed)
    return torch.randint(0, subject.vocab, (rows, time), generator=source)


def redrawn(tokens: Tensor, cuts: list[int], vocab: int) -> Tensor:
    """Change every token of row i from position cuts[i] on."""
    later = torch.arange(tokens.shape[1]) >= torch.tensor(cuts)[:, None]
    source = torch.Generator().manual_seed(1)
    shift = torch.randint(1, max(2, vocab), tokens.shape, generator=source)
    return torch.where(later, (tokens + shift) % vocab, tokens)


def cuts_of(time: int, edges: tuple[int, ...] = ()) -> list[int]:
    """Choose where the past ends: at both ends, and around each edge of a block or window."""
    wanted = {1, 2, time // 4, time - 1}
    wanted |= {edge + near for edge in edges for near in (-1, 0, 1)}
    return sorted(cut for cut in wanted if 0 < cut < time)
