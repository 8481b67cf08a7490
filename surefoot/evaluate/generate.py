"""Writes text: tokens drawn one after another, from the capped logits that training saw."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypedDict, Unpack

import torch
from torch import Tensor

from surefoot.errors import Problem, SurefootError, UsageError
from surefoot.model.context import Knob
from surefoot.model.model import Model
from surefoot.randomness import key


class Vocabulary(Protocol):
    """What generation asks of a tokenizer."""

    @property
    def vocab(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen."""

    temperature: float = 0.8
    top_p: float = 0.95
    greedy: bool = False
    seed: int = 0
    cached: bool = True  # False: read everything again for each token, to compare with


class How(TypedDict, total=False):
    """The same, as named arguments."""

    temperature: float
    top_p: float
    greedy: bool
    seed: int
    cached: bool


@torch.inference_mode()
def generate(
    model: Model,
    tokenizer: Vocabulary,
    prompt_ids: Sequence[int],
    tokens: int,
    knobs: Mapping[str, Knob] | None = None,
    **how: Unpack[How],
) -> list[int]:
    """Give so many tokens that follow a prompt."""
    refuse(model, tokenizer, prompt_ids)
    sampling = Sampling(**how)
    # on the CPU, so that a seed gives the same text from the same logits on any device
    source = torch.Generator().manual_seed(key(sampling.seed, "generate", 0, 0) >> 1)
    device = model.embedding.weight.device
    known = torch.tensor([list(prompt_ids)], device=device)
    written: list[int] = []
    states = model.start(1, known.shape[1] + tokens) if sampling.cached else []
    new = known
    while len(written) < tokens:
        if sampling.cached:
            logits, states = model.extend(new, states, knobs, last_only=True)
        else:
            logits = model(known, knobs)
        token = chosen(logits[0, -1, : tokenizer.vocab], sampling, source)
        written.append(token)
        new = torch.tensor([[token]], device=device)
        known = known if sampling.cached else torch.cat([known, new], dim=1)
    return written


def chosen(logits: Tensor, sampling: Sampling, source: torch.Generator) -> int:
    """Choose one token; logits that are not finite are an error, never a token."""
    logits = sound(logits.cpu().double())
    if sampling.greedy or sampling.temperature <= 0:
        return int(logits.argmax())
    p, order = (logits / sampling.temperature).softmax(0).sort(descending=True, stable=True)
    outside = p.cumsum(0) - p >= sampling.top_p  # the likeliest token always stays
    outside[0] = False
    drawn = torch.multinomial(p.masked_fill(outside, 0), 1, generator=source)
    return int(order[drawn])


def sound(logits: Tensor) -> Tensor:
    """Give logits that are finite back, and refuse any others."""
    if bool(logits.isfinite().all()):
        return logits
    raise SurefootError(
        Problem(
            what="the model's prediction",
            value="",
            why=f"{int((~logits.isfinite()).sum())} of {logits.numel()} logits are not finite, "
            "so these weights can't write",
            instead="Write --step best, or the number of an earlier checkpoint",
        )
    )


def refuse(model: Model, tokenizer: Vocabulary, prompt_ids: Sequence[int]) -> None:
    """Refuse what can't be continued."""
    if not model.causal:
        raise UsageError(
            Problem(
                what="generate",
                value="",
                why="this model sees later tokens, so it can't write them",
                instead="Train with model.mixers.L.kind=full, and generate from that run",
            )
        )
    if not len(prompt_ids):
        raise UsageError(
            Problem(
                what="--prompt",
                value='""',
                why="there is nothing to continue: the prompt has no tokens",
                instead='Write --prompt "def "',
            )
        )
    strange = [i for i in prompt_ids if not 0 <= i < tokenizer.vocab]
    if strange:
        raise UsageError(
            Problem(
                what="--prompt",
                value=f"token {strange[0]}",
                why=f"the tokenizer has tokens 0 to {tokenizer.vocab - 1}",
                instead="Write a prompt of text, encoded by the run's own tokenizer",
            )
        )
