"""Trains one tiny run, sick or healthy, and gives what its journal says as a stream.

Nothing is answered here: the same stream can then be judged by any guard, as often as wanted.
"""

import tempfile
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

from surefoot import kinds
from surefoot.bench.watched import halves
from surefoot.bench.watched.fault import Fault
from surefoot.bench.watched.halves import STEPS, Half
from surefoot.bench.watched.healthy import KINDS, Healthy
from surefoot.bench.watched.streams import Stream, gathered
from surefoot.learn.advance import advance
from surefoot.recipe.schema import Recipe
from surefoot.records import read
from surefoot.run import drill
from surefoot.run.asked import Asked
from surefoot.run.opening import Opening, begin, read_data, watch_facts
from surefoot.run.run import Run
from surefoot.run.session import session
from surefoot.show.terminal import Terminal

PAST = 30  # steps that a sick run goes on after the last at which it should have been found


def recorded(kind: str, half: Half, seed: int) -> Stream:
    """Record one run of a kind."""
    return (healthy if kind in KINDS else sick)(kind, half, seed)


def opened(
    half: Half, seed: int, folder: Path, changes: Mapping[str, Any], slower: float = 1.0
) -> Run:
    """Open a new run of the bench."""
    recipe, dataset = read_data(halves.recipe(half, seed, changes, slower))
    return begin(Opening(recipe, dataset), folder)


def sick(kind: str, half: Half, seed: int) -> Stream:
    """Record a run that falls ill."""
    fault: Fault = kinds.find("faults", kind).FAULT
    with tempfile.TemporaryDirectory() as folder:
        run = opened(half, seed, Path(folder), {**fault.changes, "save.every": 0})
        drill.put(run, f"{kind}@{fault.onset}")
        facts = told_facts(run)
        unguarded(run, min(STEPS, fault.onset + fault.within + PAST))
        run.close()
        told = read(Path(folder) / "journal.jsonl")
        return gathered((kind, half, seed), run.recipe, facts, told)


def healthy(kind: str, half: Half, seed: int) -> Stream:
    """Record a run that stays healthy, whatever its journal tells."""
    own: Healthy = KINDS[kind]
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        changes = {**own.changes, "save.every": 0}
        if own.extended:
            changes["train.steps"] = STEPS // 2
        run = opened(half, seed, folder, changes, own.slower)
        if own.happens is not None:
            own.happens(run)
        facts = told_facts(run)
        unguarded(run, STEPS // 2 if own.half else STEPS)
        run.close()
        recipe = run.recipe
        if own.half or own.extended:
            recipe = gone_on(folder, recipe, own.extended)
        shorter = STEPS // 2 if own.extended else 0
        told = read(folder / "journal.jsonl")
        return gathered((kind, half, seed), recipe, facts, told, shorter)


def unguarded(run: Run, last: int) -> None:
    """Train to a step, answering nothing; a run that ends before its plan does is saved."""
    for step in run.remaining():
        report = advance(run.learner, run.batch(step), run.plan.at(step), probe=run.probes(step))
        run.write(report)
        run.keep_if_due()
        if step >= last < run.recipe.train.steps:
            run.ask_to_stop("recorded", 75)
            run.saved_and_stopped()
            return
    run.finished()


def gone_on(folder: Path, recipe: Recipe, way: str) -> Recipe:
    """Go on with a run that was stopped, or make one that is finished longer."""
    changes = (f"train.steps={STEPS}",) if way else ()
    asked = Asked(what="", named=False, changes=changes, resume=str(folder), resume_lr=way or None)
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        session(replace(asked, timed=False), Terminal(plain=True, quiet=True))
    train = recipe.train.model_copy(update={"steps": STEPS})
    return recipe.model_copy(update={"train": train})


def told_facts(run: Run) -> dict[str, Any]:
    """Give the facts of the watch that are plain numbers."""
    facts = watch_facts(run.recipe, run.dataset, run.learner)
    return {name: value for name, value in facts.items() if isinstance(value, int | float)}
