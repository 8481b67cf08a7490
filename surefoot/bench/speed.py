"""Times the loop with journal, tables, heartbeat and monitors against a bare loop of 30 lines.

Goal: at least .98 of the bare loop's tokens per second, at the shape of `starter` (2,048 tokens a
step) and at the same shape with 256 tokens a step, where a step leaves little to hide behind.
Both sides train the same model by the same optimisers; saves and validations are switched off.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from surefoot.learn.learner import Learner
from surefoot.model.batch import Batch
from surefoot.plan.plan import Plan
from surefoot.protocol import Paired, environment, paired
from surefoot.recipe import load as recipes
from surefoot.recipe import write
from surefoot.recipe.schema import Recipe
from surefoot.run.blocks import Blocks
from surefoot.run.opening import Opening, begin, make_learner, read_data
from surefoot.shelf.disk import Disk
from surefoot.train import train

GOAL = 0.98
BLOCK = 20  # steps of one timed block, two of which take the measurements that cost
FIXED = {"train.steps": 100_000, "val.every": 0, "val.prompts": [], "save.every": 50_000}
CASES = {
    "starter, 2,048 tokens a step": (GOAL, {}),
    "256 tokens a step": (None, {"train.batch": 1}),
}


def options(parser: argparse._ArgumentGroup) -> None:
    """Take what this bench adds."""
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of both sides (1)")
    parser.add_argument("--recipe", default="starter", help="recipe whose shape is timed (starter)")


def run(quick: bool = False, repeat: int = 1, **own: Any) -> dict[str, Any]:
    """Measure and give the rows."""
    threads, recipe = int(own.get("threads", 1)), str(own.get("recipe", "starter"))
    before = torch.get_num_threads()
    block, warmup, pairs = (10, 1, 3) if quick else (BLOCK, 3, 9 * repeat)
    rows: list[dict[str, Any]] = []
    samples: dict[str, Any] = {}
    try:
        for case, (goal, changes) in CASES.items():
            with tempfile.TemporaryDirectory() as folder:
                sides = Sides(recipe, {**changes, "train.threads": threads}, Path(folder), block)
                told = paired(sides.ours, sides.bare, warmup, pairs, None if quick else goal)
                sides.close()
            rows.append({**told.row(case, goal), **sides.row(told)})
            samples[case] = told.raw()
    finally:
        torch.set_num_threads(before)
    settings = {**environment(), "threads": threads, "recipe": recipe, "steps_per_block": block}
    return {
        "name": "speed",
        "quick": quick,
        "settings": settings,
        "rows": rows,
        "samples": samples,
    }


class Sides:
    """The two loops over one shape, ready to do a block of steps each."""

    def __init__(
        self,
        recipe: str,
        changes: dict[str, Any],
        folder: Path,
        block: int,
        disk: Disk | None = None,
    ) -> None:
        loaded = recipes.load(recipe, {**changes, **FIXED}).recipe
        ready, dataset = read_data(write.resolved(loaded, steps=loaded.train.steps))
        self.recipe, self.block = ready, block
        self.run = Blocks.of(begin(Opening(ready, dataset), folder, disk))
        self.theirs = bare_loop(make_learner(ready), ready, np.asarray(tokens_of(dataset)))

    def ours(self) -> None:
        """Train a block of steps by the loop."""
        self.run.left = self.block
        train(self.run)

    def bare(self) -> None:
        """Train a block of steps by the bare loop."""
        for _ in range(self.block):
            next(self.theirs)

    def row(self, told: Paired) -> dict[str, Any]:
        """Give what a step of each side takes, and how many tokens a second that is."""
        tokens = self.recipe.train.batch * self.recipe.train.accumulate * self.recipe.train.seq_len
        a, b = (float(np.median([s.wall for s in side])) / self.block for side in (told.a, told.b))
        apart = [x.cpu - y.cpu for x, y in zip(told.a, told.b, strict=True)]
        shares = [y.cpu / x.cpu for x, y in zip(told.a, told.b, strict=True)]
        return {
            "step_s": a,
            "bare_step_s": b,
            "tok_per_s": tokens / a,
            "bare_tok_per_s": tokens / b,
            "overhead_us": (a - b) * 1e6,
            "cpu_ratio": float(np.median(shares)),  # less moved by what else the machine does
            "overhead_cpu_us": float(np.median(apart)) / self.block * 1e6,
        }

    def close(self) -> None:
        """End the run."""
        self.run.end()


def tokens_of(dataset: Any) -> Any:
    """Bring the training tokens into memory, as a bare loop has them."""
    return np.concatenate(list(dataset.train.tokens.chunks()))


def bare_loop(learner: Learner, recipe: Recipe, tokens: np.ndarray) -> Iterator[float]:
    """Train as somebody would who writes his own loop: nothing is watched, kept or shown."""
    parameters = list(learner.model.parameters())
    optimisers = [(group.role, group.optimiser) for group in learner.groups]
    loss_of: Callable[..., Any] = learner.loss
    drawn, plan = np.random.default_rng(0), Plan(recipe)
    values = plan.at(1).values
    rows, time = recipe.train.batch * recipe.train.accumulate, recipe.train.seq_len
    peak = {role: recipe.optim[role].lr for role, _ in optimisers}  # pyright: ignore[reportAttributeAccessIssue]
    step = 0
    while True:
        step += 1
        starts = drawn.integers(0, len(tokens) - time - 1, rows)
        cut = np.stack([tokens[start : start + time + 1] for start in starts]).astype(np.int64)
        whole = torch.from_numpy(cut)
        batch = Batch(tokens=whole[:, :-1], targets=whole[:, 1:])
        loss, _ = loss_of(batch, values, rows * time)
        loss.backward()
        if recipe.train.clip:
            torch.nn.utils.clip_grad_norm_(parameters, recipe.train.clip)
        warm = min(1.0, step / 100)
        for role, optimiser in optimisers:
            optimiser.update(warm * peak[role], 0.95)
        for parameter in parameters:
            parameter.grad = None
        yield loss.item()
