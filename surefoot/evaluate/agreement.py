"""Holds an export against the model that it was made of, in the library that others load it by."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from surefoot.evaluate.generate import Vocabulary, generate
from surefoot.model.context import Knob
from surefoot.model.model import Model
from surefoot.randomness import key

ROWS, TIME, WRITTEN = 4, 64, 50
MOST = 1e-4  # between logits in fp32


class Agreement(NamedTuple):
    """How far the two are apart."""

    logits: float  # the largest difference
    greedy: bool  # whether both write the same tokens

    @property
    def fine(self) -> bool:
        """Say whether they are one model."""
        return self.logits <= MOST and self.greedy


@torch.inference_mode()
def agreement(
    folder: Path, model: Model, tokenizer: Vocabulary, knobs: Mapping[str, Knob]
) -> Agreement:
    """Load it by transformers, and compare logits and greedy text; both compute in fp32."""
    from transformers import AutoModelForCausalLM  # pyright: ignore[reportMissingImports]

    load: Any = AutoModelForCausalLM.from_pretrained
    theirs: Any = load(str(folder), dtype=torch.float32).eval()
    source = torch.Generator().manual_seed(key(0, "agreement", 0, 0) >> 1)
    tokens = torch.randint(tokenizer.vocab, (ROWS, TIME), generator=source)
    apart = (theirs(tokens).logits - model(tokens, knobs)).abs().max()
    begun = tokens[0, :8]
    ours = generate(model, tokenizer, begun.tolist(), WRITTEN, knobs, greedy=True)
    unused = list(range(tokenizer.vocab, len(model.embedding.weight)))  # rows up to 64
    asked: dict[str, Any] = {"do_sample": False, "eos_token_id": None, "max_new_tokens": WRITTEN}
    asked |= {"suppress_tokens": unused} if unused else {}
    written = theirs.generate(begun[None], attention_mask=torch.ones(1, 8).long(), **asked)
    return Agreement(float(apart), written[0, 8:].tolist() == ours)
