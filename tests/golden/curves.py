"""Draws a recipe's golden curve: 50 steps on the fixture corpus, on one CPU thread, in fp32."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

import surefoot
from surefoot.recipe.load import names
from surefoot.records import Step
from tests.house_rules import ROOT

GOLDEN = ROOT / "tests" / "golden"
STEPS = 50
SMALL: dict[str, Any] = {
    "data.corpus": {"kind": "text", "path": str(ROOT / "tests" / "fixtures" / "corpus")},
    "train.steps": STEPS,
    "train.batch": 2,
    "train.seq_len": 128,
    "train.threads": 1,
    "train.device": "cpu",
    "train.precision": "fp32",
    "val.every": 0,
    "val.prompts": [],
    "val.share": 0.1,
    "save.every": 0,
}
OWN: dict[str, dict[str, Any]] = {
    "shakespeare-char": {"knobs.lr.warmup": 5},  # its ten steps are for five times the length
    "savant-tiny": {"train.effective_batch": 4},
}
BPE = {"data.tokenizer": {"kind": "bpe", "vocab": 512}}


def siblings() -> list[str]:
    """Name the recipes that train in two minutes or less: those have a curve."""
    trains = {name: surefoot.load(name).train for name in names()}
    return [name for name, train in trains.items() if train.minutes or train.steps <= 500]


def curve(recipe: str, run: Path) -> dict[str, Any]:
    """Train a recipe on the fixture, and give what is compared."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    given = surefoot.load(recipe)
    small = SMALL | (BPE if given.data.tokenizer.kind == "bpe" else {}) | OWN.get(recipe, {})
    past = surefoot.train(recipe, small, run=run, timed=False)
    told = list(rows(step for step in past.journal if isinstance(step, Step)))
    return {"recipe": recipe, "steps": told}


def rows(steps: Iterator[Step]) -> Iterator[dict[str, Any]]:
    """Keep of each step its losses, its gradient and its plan."""
    for step in steps:
        yield {
            "step": step.step,
            "loss": step.loss,
            "ce": step.ce,
            "grad_norm": step.grad_norm,
            "lr": dict(step.lr),
            "knobs": dict(step.knobs),
        }


def stored(recipe: str) -> dict[str, Any]:
    """Read the curve that was agreed on."""
    return json.loads((GOLDEN / f"{recipe}.json").read_text(encoding="utf-8"))
