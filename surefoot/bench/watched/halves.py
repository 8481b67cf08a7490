"""The tiny runs of the bench: one recipe, and two halves that share neither text nor seeds.

Constants of monitors may be chosen by looking at the training half; the held-out half decides. It
reads English (the documentation of Python's language) where the other reads Python, and every
second seed of it learns by AdamW alone where the other has Muon.
"""

import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from surefoot.recipe.load import load
from surefoot.recipe.schema import Recipe

Half = Literal["training", "held_out"]
FIRST_SEED: Mapping[Half, int] = {"training": 0, "held_out": 1000}
STEPS = 1200
RATES = {"matrix": 0.015, "embedding": 3e-3, "head": 3e-3, "scalar": 3e-3}
ADAM_RATE = 2e-3  # of the matrices, where AdamW moves them


def topics() -> Path:
    """Find the documentation that Python brings along for its own help."""
    return Path(sysconfig.get_path("stdlib")) / "pydoc_data" / "topics.py"


def keys(half: Half, seed: int, slower: float = 1.0) -> dict[str, Any]:
    """Give the keys in which one run differs from watched.toml."""
    told: dict[str, Any] = {"train.seed": seed}
    if half == "training":
        told |= {"data.corpus.kind": "stdlib", "data.corpus.limit_mib": 2}
    else:
        told |= {"data.corpus.kind": "text", "data.corpus.path": str(topics())}
        told |= {"data.corpus.split": "blank_line"}
    adam = half == "held_out" and seed % 2 == 1
    if adam:
        told["optim.matrix.kind"] = "adam"
    for role, rate in RATES.items():
        own = ADAM_RATE if adam and role == "matrix" else rate
        told[f"optim.{role}.lr"] = own * slower
    return told


def recipe(half: Half, seed: int, changes: Mapping[str, Any], slower: float = 1.0) -> Recipe:
    """Build one run's recipe."""
    file = Path(__file__).parent / "watched.toml"
    return load(file, {**keys(half, seed, slower), **changes}).recipe
