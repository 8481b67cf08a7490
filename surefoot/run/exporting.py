"""Hands a run's model to others: says what the target can't compute, writes, and compares."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from surefoot import kinds
from surefoot.errors import Problem, RunError, UsageError
from surefoot.evaluate.agreement import Agreement, agreement
from surefoot.learn.weights import load_weights
from surefoot.records import read
from surefoot.run.beginning import differences
from surefoot.run.opened import open_content, open_model
from surefoot.shelf import origin as origins
from surefoot.shelf.export import README, Made, write
from surefoot.show.card import card

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Exported:
    """A folder that was written."""

    folder: Path
    step: int
    files: Mapping[str, int]  # name -> bytes
    loading: str  # how it is loaded


def export(run: Path, step: str | int | None, to: str, out: Path, dtype: str) -> Exported:
    """Write the model of a run's checkpoint for a target; what the target lacks is refused."""
    if out.exists() or out.is_symlink():
        raise UsageError(Problem("--out", str(out), "it is there already", "Write a new folder"))
    if not out.absolute().parent.is_dir():
        why = "the folder that it is to be made in is not there"
        raise UsageError(Problem("--out", str(out), why, f"Make {out.absolute().parent} first"))
    content, recipe, tokenizer = open_content(run, step)
    target = kinds.find("exports", to, "--to")
    shapes = {name: tuple(tensor.shape) for name, tensor in content.model.items()}
    made = Made(recipe, tokenizer, shapes)
    if found := list(unsaid(target, made, to)):
        raise RunError(*found, exit=3)
    weights = {name: tensor.to(DTYPES[dtype]) for name, tensor in content.model.items()}
    loading = target.LOADED_BY.format(folder=out)
    told = card(made.recipe, content.step, loading, read(run / "journal.jsonl"))
    files = {**target.files(made, str(DTYPES[dtype]).partition(".")[2]), README: told.encode()}
    try:
        write(out, files, {target.name(name): tensor for name, tensor in weights.items()})
    except OSError as error:
        why = f"it can't be written ({error.strerror or error})"
        raise RunError(Problem("--out", str(out), why, "Write another folder"), exit=1) from None
    read_back(out, weights)
    sizes = {path.name: path.stat().st_size for path in sorted(out.iterdir())}
    return Exported(out, content.step, sizes, loading)


def verified(made: Exported, run: Path) -> Agreement:
    """Compare what transformers makes of an export with the run's model of the same weights."""
    opened = open_model(run, made.step, "cpu")
    there = origins.read(made.folder).tensors()
    load_weights(opened.model, {name: tensor.float() for name, tensor in there.items()})
    return agreement(made.folder, opened.model, opened.tokenizer, opened.knobs)


def unsaid(target: ModuleType, made: Made, to: str) -> Iterator[Problem]:
    """Name whatever the target can't say of this model; nothing is approximated."""
    yield from target.problems(made)
    for key, there, here in differences(target.tables(made), made.recipe.model):
        why = f"--to {to} has no word for it"
        yield Problem(key, here, why, f"Train with {key}={there}, or write --to safetensors")


def read_back(folder: Path, written: Mapping[str, Tensor]) -> None:
    """Compare what another would read there with what was meant, bit by bit."""
    there = origins.read(folder).tensors()
    wrong = sorted(name for name in written if not torch.equal(there[name], written[name]))
    if wrong or len(there) != len(written):
        why = f"what is read back is not what was written ({(wrong or ['a tensor'])[0]})"
        raise RunError(Problem("--out", str(folder), why, "Look at that disk"), exit=1)
