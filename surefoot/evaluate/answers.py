"""The share of problems whose answer is right to the last token, written greedily."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from surefoot.evaluate.generate import refuse, sound
from surefoot.model.context import Knob
from surefoot.model.model import Model

TOGETHER = 64  # problems that are answered at once
SHOWN = 5  # wrong answers that are told


class Asked(NamedTuple):
    """One problem: what is read, and the one answer that is right."""

    prompt: Sequence[int]
    answer: Sequence[int]


class Vocabulary(Protocol):
    """What is asked of a tokenizer."""

    @property
    def vocab(self) -> int: ...
    @property
    def eos(self) -> int | None: ...
    def decode(self, ids: Sequence[int]) -> str: ...


class Answered(NamedTuple):
    """How many answers are right, how far that may be off, and some that are not."""

    exact_share: float
    exact_se: float
    problems: int
    right: int
    wrong: list[dict[str, str]]  # prompt, said, right


def answer(
    model: Model, tokenizer: Vocabulary, problems: Sequence[Asked], knobs: Mapping[str, Knob]
) -> Answered:
    """Answer each problem and compare, token by token and with the end of the text."""
    by_length: dict[int, list[Asked]] = {}
    for one in problems:
        refuse(model, tokenizer, one.prompt)
        by_length.setdefault(len(one.prompt), []).append(one)
    wrong: list[dict[str, str]] = []
    for group in by_length.values():
        for i in range(0, len(group), TOGETHER):
            together = group[i : i + TOGETHER]
            longest = max(len(one.answer) for one in together)
            said = written(model, tokenizer, [one.prompt for one in together], longest, knobs)
            for one, ids in zip(together, said, strict=True):
                if ids != list(one.answer):
                    parts = {"prompt": one.prompt, "said": ids, "right": one.answer}
                    wrong.append({name: tokenizer.decode(part) for name, part in parts.items()})
    count = len(problems)
    share = 1 - len(wrong) / count if count else math.nan
    error = math.sqrt(share * (1 - share) / count) if count else math.nan
    return Answered(share, error, count, count - len(wrong), wrong[:SHOWN])


@torch.inference_mode()
def written(
    model: Model,
    tokenizer: Vocabulary,
    prompts: Sequence[Sequence[int]],
    longest: int,
    knobs: Mapping[str, Knob],
) -> list[list[int]]:
    """Write on prompts of one length until each has ended, or one token longer than it may be."""
    new = torch.tensor([list(prompt) for prompt in prompts], device=model.embedding.weight.device)
    states = model.start(len(prompts), new.shape[1] + longest + 1)
    columns: list[Tensor] = []
    ended = torch.zeros(len(prompts), dtype=torch.bool, device=new.device)
    while len(columns) <= longest and not bool(ended.all()):
        logits, states = model.extend(new, states, knobs, last_only=True)
        new = sound(logits[:, -1, : tokenizer.vocab]).argmax(-1, keepdim=True)
        columns.append(new)
        if tokenizer.eos is not None:
            ended |= new[:, 0] == tokenizer.eos
    return [cut(row, tokenizer.eos) for row in torch.cat(columns, dim=1).tolist()]


def cut(ids: list[int], end: int | None) -> list[int]:
    """Keep what stands before the end of the text."""
    return ids[: ids.index(end)] if end in ids else ids
