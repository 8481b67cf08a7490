"""Times training with a checkpoint in it: beside the training, and with the training waiting.

A side trains ten steps and saves after the fifth; the other trains eleven and saves nothing. Goal:
beside the training a save costs at most one step, so the first side is done no later: a ratio of 1.
What the writing thread takes from the training's own core is in it, and what is told of the save
(journal, status) too. One step later each save is on the disk, read back and the old one deleted.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from surefoot.protocol import Paired, environment, paired
from surefoot.recipe import load as recipes
from surefoot.recipe import write
from surefoot.records import Event, Step, read
from surefoot.run.blocks import Blocks
from surefoot.run.opening import Opening, begin, read_data
from surefoot.train import train

BLOCK = 10  # steps of a timed block with a save in its middle
NEVER = 50_000
FIXED = {"train.steps": 100_000, "val.every": 0, "val.prompts": [], "guard.audit_after": 0}
CASES: dict[str, tuple[float | None, bool]] = {
    "beside the training": (1.0, True),
    "the training waits": (None, False),
}


def options(parser: argparse._ArgumentGroup) -> None:
    """Take what this bench adds."""
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of both sides (1)")
    parser.add_argument("--recipe", default="starter", help="recipe whose shape is timed (starter)")


def run(quick: bool = False, repeat: int = 1, **own: Any) -> dict[str, Any]:
    """Measure and give the rows; a is seconds of the side that saves."""
    threads, recipe = int(own.get("threads", 1)), str(own.get("recipe", "starter"))
    before = torch.get_num_threads()
    warmup, pairs = (1, 3) if quick else (3, 9 * repeat)
    rows: list[dict[str, Any]] = []
    samples: dict[str, Any] = {}
    try:
        for case, (goal, background) in CASES.items():
            with tempfile.TemporaryDirectory() as folder:
                changes = {"train.threads": threads, "save.background": background}
                sides = Sides(recipe, changes, Path(folder))
                told = paired(sides.saving, sides.plain, warmup, pairs, None if quick else goal)
                sides.close()
                rows.append({**told.row(case, goal), **sides.row(told)})
            samples[case] = told.raw()
    finally:
        torch.set_num_threads(before)
    settings = {**environment(), "threads": threads, "recipe": recipe, "steps_per_block": BLOCK}
    return {"name": "save", "quick": quick, "settings": settings, "rows": rows, "samples": samples}


class Sides:
    """Two runs of one recipe: one that saves in each block, one that never does."""

    def __init__(self, recipe: str, changes: dict[str, Any], folder: Path, block: int = BLOCK):
        self.block = block
        self.saves = opened(recipe, {**changes, "save.every": block}, folder / "saves")
        self.never = opened(recipe, {**changes, "save.every": NEVER}, folder / "never")
        self.train(self.saves, block // 2)  # so that saves fall into the middle of later blocks

    def train(self, run: Blocks, steps: int) -> None:
        """Train so many steps of a run."""
        run.left = steps
        train(run)

    def saving(self) -> None:
        """Train a block with a save in it."""
        self.train(self.saves, self.block)

    def plain(self) -> None:
        """Train one step more without a save."""
        self.train(self.never, self.block + 1)

    def row(self, told: Paired) -> dict[str, Any]:
        """Give what a save takes, in seconds and in steps, and how fast it is written."""
        step = np.array([sample.wall for sample in told.b]) / (self.block + 1)
        cost = np.array([sample.wall for sample in told.a]) - self.block * step
        lines = list(read(self.saves.folder / "journal.jsonl"))
        stalls = [r.save_stall_s for r in lines if isinstance(r, Step) and after(r, self.block)]
        saved = [r.args for r in lines if isinstance(r, Event) and r.name == "saved"]
        size, write_s, verify_s = (
            float(np.median([args[name] for args in saved]))
            for name in ("bytes", "write_s", "verify_s")
        )
        return {
            "step_s": float(np.median(step)),
            "cost_s": float(np.median(cost)),
            "cost_steps": float(np.median(cost / step)),
            "stall_s": float(np.median([stall or 0.0 for stall in stalls])),
            "save_mib": size / 2**20,
            "write_mib_per_s": size / 2**20 / write_s,
            "verify_mib_per_s": size / 2**20 / verify_s,
        }

    def close(self) -> None:
        """End both runs."""
        self.saves.end()
        self.never.end()


def after(step: Step, block: int) -> bool:
    """Say whether a step is the first after a save."""
    return step.step > 1 and step.step % block == 1


def opened(recipe: str, changes: dict[str, Any], folder: Path) -> Blocks:
    """Open a new run that trains in blocks."""
    loaded = recipes.load(recipe, {**changes, **FIXED, "save.keep": 1}).recipe
    ready, dataset = read_data(write.resolved(loaded, steps=loaded.train.steps))
    folder.mkdir()
    return Blocks.of(begin(Opening(ready, dataset), folder))
