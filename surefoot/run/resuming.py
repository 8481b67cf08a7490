"""Decides whether a run may go on: what changed since, and what that means."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from surefoot.errors import Problem, RunError
from surefoot.recipe import write
from surefoot.recipe.load import from_text
from surefoot.recipe.schema import Recipe

BOOK = {"out_dir_mixed": ("refuse!", "a run folder that holds another recipe's run", "004")}

# What may change from one start to the next without a word.
FREE = (
    "logs.", "save.", "guard.", "limits.", "name", "purpose", "val.every", "val.prompts",
    "val.batches", "train.threads", "train.device", "train.minutes", "train.on_oom",
    "distributed.timeout_s", "distributed.mode", "distributed.accumulate_sharded",
    "data.tokenizer.path",
)  # fmt: skip
# What only bends the plan: the learning rate's own check looks at it.
PLANNED = ("train.steps", "knobs.", "train.clip")


def stored(folder: Path) -> Recipe:
    """Read the resolved recipe that a run folder holds."""
    path = folder / "recipe.toml"
    if not path.is_file():
        raise RunError(
            Problem(
                what=str(folder),
                value="",
                why="it holds no recipe.toml, so it is no run",
                instead="Write the folder of a run, or train without --resume",
            )
        )
    return from_text(path.read_text(encoding="utf-8"), "recipe.toml")


def flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Write a recipe's tables as dotted keys."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def differences(old: Recipe, new: Recipe) -> dict[str, tuple[Any, Any]]:
    """Map each key that differs to (old, new)."""
    before, after = flat(write.tables(old)), flat(write.tables(new))
    return {
        key: (before.get(key), after.get(key))
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key)
    }


def planned(key: str) -> bool:
    """Say whether a key only bends the plan."""
    tail = key.rsplit(".", 1)[-1]
    return key.startswith(PLANNED) or (key.startswith("optim.") and tail != "kind")


def barred(
    changes: Mapping[str, tuple[Any, Any]], fresh: Sequence[str] = ()
) -> dict[str, tuple[Any, Any]]:
    """Keep the changes after which weights, optimiser state or data would no longer fit."""
    allowed = tuple(f"optim.{role}." for role in fresh) + (("optim.",) if "all" in fresh else ())
    return {
        key: pair
        for key, pair in changes.items()
        if not key.startswith((*FREE, *allowed)) and not planned(key)
    }


def refuse(folder: Path, changes: Mapping[str, tuple[Any, Any]]) -> None:
    """Refuse to go on with another recipe's run, naming all that differs."""
    if not changes:
        return
    listed = "; ".join(f"{key}: {old!r} there, {new!r} here" for key, (old, new) in changes.items())
    raise RunError(
        Problem(
            what=str(folder),
            value="",
            why=f"it holds a run of another recipe ({listed}) (out_dir_mixed)",
            instead="Write --run with a new folder, or leave these keys as they are there",
        ),
        exit=3,
    )


def as_there(asked: Recipe, there: Recipe, ranks: int = 1) -> Recipe:
    """Fill in what the first start, with so many ranks, worked out: only real changes differ."""
    model = asked.model
    if not model.vocab:
        model = model.model_copy(update={"vocab": there.model.vocab})
    steps = there.train.steps if asked.train.minutes else asked.train.steps
    threads = asked.train.threads or there.train.threads
    lanes = asked.distributed.lanes or there.distributed.lanes
    own = asked.distributed.model_copy(update={"lanes": lanes})
    same_name = asked.model_copy(update={"model": model, "distributed": own})
    micros = asked.train.accumulate * ranks
    return write.resolved(same_name, steps=steps, threads=threads, accumulate=micros)
