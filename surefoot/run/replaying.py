"""Does one step of a run again, from the nearest checkpoint before it, and looks inside.

Batches, random numbers and the plan are functions of the step, and what bends them stands in the
journal: so any step can be made again, also one that a rewind left behind. The run is only read.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from surefoot.data.dataset import Dataset
from surefoot.errors import DataError, Problem, RunError, ShelfError
from surefoot.learn.advance import advance
from surefoot.learn.learner import Learner
from surefoot.plan.bends import Bend, micro_rows
from surefoot.plan.plan import Plan
from surefoot.recipe.load import from_text
from surefoot.recipe.schema import Recipe
from surefoot.records import Event, Header, Record, Step, read
from surefoot.run.beginning import at_home, begun_again
from surefoot.run.device import machine
from surefoot.run.inside import Inside, look
from surefoot.run.opening import make_learner, read_data
from surefoot.run.progress import Progress, bare, branch_of
from surefoot.run.resuming import stored
from surefoot.shelf.checkpoint import Checkpoint, candidates, on_lineage
from surefoot.shelf.format import RECIPE
from surefoot.shelf.load import load

# what a step says of the run and not of itself, or of other ranks
OUTER = frozenset({"v", "kind", "step", "generation", "tokens", "loss_checksum"})
MACHINE = ("torch", "device", "threads", "world")
BEFORE = 20  # steps whose median says what was usual
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Told:
    """What the journal tells of a step and of the way to it."""

    step: Step
    way: list[list[int]]  # how its generation and those before it began
    bends: list[Bend]  # decided before it
    skips: list[tuple[int, int]]
    recipes: Mapping[int, str]  # hash of the recipe that each step of the way was done with
    steps: Mapping[int, Step]  # all of the way, up to it
    header: Header  # of the process that did it
    others: list[int]  # generations in which this step was done too


@dataclass(slots=True)
class Replay:
    """A step that was done again."""

    told: Step
    again: Step
    inside: Inside
    start: int  # the step whose checkpoint it came from; 0 is the first values
    differs: dict[str, tuple[Any, Any]] = field(default_factory=dict[str, tuple[Any, Any]])
    astray: int = 0  # the first step on the way that was not as before
    reasons: list[str] = field(default_factory=list[str])  # why the bits may differ
    usual: dict[str, float] = field(default_factory=dict[str, float])
    others: list[int] = field(default_factory=list[int])
    notes: list[str] = field(default_factory=list[str])

    @property
    def exact(self) -> bool:
        """Whether every bit that the journal holds of this step came out again."""
        return not self.differs


def replay(folder: Path, step: int, generation: int | None, say: Say) -> Replay:
    """Do a step again."""
    told = journalled(folder, step, generation)
    recipes, notes = recipes_of(folder, told)
    recipe, dataset = read_data(at_home(recipes[told.recipes[step]], folder))
    same_data(folder, told, dataset)
    begun = max(0, step - 1)
    start, learner, damaged = nearest(folder, told, recipes, begun)
    if begun > start:
        source = f"step {start}'s checkpoint" if start else "the first values: no save is older"
        say(f"doing steps {start + 1} to {begun} again, from {source}")
    astray = 0
    for number in range(start + 1, step):
        learner, report = redone(learner, told, recipes, dataset, number)
        if not astray and differences(told.steps[number], report):
            astray = number
    learner = fitted(learner, recipes, told, step)
    plan, batch = Plan(recipe, told.bends), dataset.batch(step, told.skips)
    inside = look(learner, dataset, batch, plan.at(step), told.skips)
    again = advance(learner, batch, plan.at(step), probe=probed(recipe, step))
    found = Replay(told.step, again, inside, start, astray=astray, others=told.others)
    found.notes = [*notes, *damaged]
    found.differs = differences(told.step, again)
    found.usual = usual(told.steps, step)
    if found.differs or astray:
        found.reasons = reasons(told, learner)
    return found


def journalled(folder: Path, step: int, generation: int | None) -> Told:
    """Find a step in the journal: of the generation that went on, unless one is named."""
    path = folder / "journal.jsonl"
    records = list(read(path)) if path.is_file() else []
    branches = [branch for one in records if (branch := branch_of(one)) is not None]
    there = [one for one in records if isinstance(one, Step) and one.step == step]
    if generation is None:
        chosen = [one for one in there if on_the_way(folder, one, branches)]
    else:
        chosen = [one for one in there if one.generation == generation]
    if not chosen:
        raise RunError(unreached(folder, step, generation, records, there))
    target = chosen[-1]
    way = [branch for branch in branches if branch[0] <= target.generation]
    before = records[: records.index(target)]
    progress = Progress.replayed(before, None)
    steps: dict[int, Step] = {}
    recipes: dict[int, str] = {}
    header = Header()
    for one in [*before, target]:
        if isinstance(one, Header):
            header = one
        elif isinstance(one, Step) and on_the_way(folder, one, way):
            steps[one.step] = one
            recipes[one.step] = str(header.facts.get("recipe_sha", ""))
    others = sorted({one.generation for one in there} - {target.generation})
    return Told(target, way, progress.bends, progress.skips, recipes, steps, header, others)


def on_the_way(folder: Path, one: Step, branches: Sequence[Sequence[int]]) -> bool:
    """Say whether the last of these generations came past a step."""
    return on_lineage(Checkpoint(one.generation, one.step, folder), branches)


def unreached(
    folder: Path, step: int, generation: int | None, records: list[Record], there: list[Step]
) -> Problem:
    """Say that a step isn't in the journal, and which are."""
    if there:
        found = sorted({one.generation for one in there})
        one = f"Write --generation {found[-1]}"
        why = f"this step was done in generation {', '.join(map(str, found))}"
        return Problem("--step", str(step), why, one)
    done = [one.step for one in records if isinstance(one, Step)]
    if not done:
        return Problem(str(folder), "", "no step stands in its journal", "Train it first")
    within = "" if generation is None else f" --generation {generation}"
    return Problem(
        "--step",
        f"{step}{within}",
        f"the journal of {folder} has steps {min(done)} to {max(done)}",
        f"Write --step {max(done)}",
    )


def recipes_of(folder: Path, told: Told) -> tuple[dict[str, Recipe], list[str]]:
    """Gather the recipes that the way was done with: a resume may have changed the plan.

    One that is gone with its checkpoints is replaced by the run's own; whether that made a
    difference, the bits tell.
    """
    own = stored(folder)
    if single(folder):  # also where an older version hashed it otherwise
        return dict.fromkeys(told.recipes.values(), own), []
    found = kept(folder)
    gone = [step for step, sha in told.recipes.items() if sha not in found]
    if not gone:
        return found, []
    note = (
        f"the recipe of steps {min(gone)} to {max(gone)} is gone with the checkpoints that had it: "
        "the run's own is used in its place"
    )
    return {sha: found.get(sha, own) for sha in told.recipes.values()}, [note]


def single(folder: Path) -> bool:
    """Say whether all processes of a run had one recipe."""
    hashes = {
        one.facts.get("recipe_sha")
        for one in read(folder / "journal.jsonl")
        if isinstance(one, Header)
    }
    return len(hashes) == 1


def kept(folder: Path) -> dict[str, Recipe]:
    """Read the recipes that a run and its checkpoints hold, by the hash of their text."""
    found: dict[str, Recipe] = {}
    for place in [folder, *(checkpoint.path for checkpoint in candidates(folder))]:
        path = place / RECIPE
        if path.is_file():
            text = path.read_bytes()
            sha = hashlib.sha256(text).hexdigest()
            if sha not in found:
                found[sha] = from_text(text.decode(), f"{place.name}/{RECIPE}")
    return found


def same_data(folder: Path, told: Told, dataset: Dataset) -> None:
    """Refuse to read other data than the step did."""
    before = told.header.facts.get("corpus_sha")
    if before is not None and before != dataset.fingerprint:
        raise DataError(
            Problem(
                what=str(folder),
                value="",
                why=f"its data changed since: fingerprint {str(before)[:12]} then, "
                f"{dataset.fingerprint[:12]} now, so step {told.step.step} can't be read again",
                instead="Bring the old files back",
            ),
            exit=3,
        )


def nearest(
    folder: Path, told: Told, recipes: Mapping[str, Recipe], last: int
) -> tuple[int, Learner, list[str]]:
    """Load the newest checkpoint on the way that is whole; else begin with the first values."""
    notes: list[str] = []
    for checkpoint in candidates(folder, told.way):
        if checkpoint.step > last:
            continue
        try:
            content = load(checkpoint)
        except ShelfError as error:
            notes.append(f"{checkpoint.name} is left out: {error.problems[0].why}")
            continue
        learner = made(recipes, told, checkpoint.step + 1)
        learner.load(content.model, content.optim)
        return checkpoint.step, learner, notes
    learner = made(recipes, told, 1)
    begun_again(learner, folder)
    return 0, learner, notes


def made(recipes: Mapping[str, Recipe], told: Told, step: int) -> Learner:
    """Make the learner of a step, with its first values."""
    return make_learner(recipes[told.recipes[step]])


def fitted(learner: Learner, recipes: Mapping[str, Recipe], told: Told, step: int) -> Learner:
    """Give the learner as a step had it: another recipe means other options."""
    own = told.recipes[step]
    recipe = recipes[own]
    if told.recipes.get(step - 1, own) != own:
        other = make_learner(recipe)
        other.load(learner.parameters, learner.slots())
        learner = other
    learner.micro_rows = micro_rows(told.bends, step, recipe.train.batch)
    return learner


def redone(
    learner: Learner, told: Told, recipes: Mapping[str, Recipe], dataset: Dataset, step: int
) -> tuple[Learner, Step]:
    """Do a step of the way again."""
    recipe = recipes[told.recipes[step]]
    learner = fitted(learner, recipes, told, step)
    knobs = Plan(recipe, told.bends).at(step)
    batch = dataset.batch(step, told.skips)
    return learner, advance(learner, batch, knobs, probe=probed(recipe, step))


def probed(recipe: Recipe, step: int) -> bool:
    """Say whether a step took the measurements that cost."""
    return step == 1 or step % recipe.guard.probe_every == 0


def differences(told: Step, again: Step) -> dict[str, tuple[Any, Any]]:
    """Map each field that did not come out as before to (then, now)."""
    then, now = bare(told), bare(again)
    return {
        name: (value, now.get(name))
        for name, value in then.items()
        if name not in OUTER and value != now.get(name)
    }


def usual(steps: Mapping[int, Step], step: int) -> dict[str, float]:
    """Give the medians of loss and gradient norm over the steps before."""
    near = [steps[n] for n in range(max(1, step - BEFORE), step) if n in steps]
    sound = [one for one in near if not one.skipped]
    if not sound:
        return {}
    return {
        name: sorted(getattr(one, name) for one in sound)[len(sound) // 2]
        for name in ("loss", "grad_norm")
    }


def reasons(told: Told, learner: Learner) -> list[str]:
    """Say what of the machine or the run is not as it was."""
    now, then = machine(learner.device), told.header.facts
    found = [
        f"{name} {then[name]} then, {now[name]} now"
        for name in MACHINE
        if name in then and then[name] != now[name]
    ]
    drills = [one for one in told.bends if isinstance(one, Event) and one.name == "drill"]
    found += [f"a drill was put into the run: {one.args['kind']}@{one.step}" for one in drills]
    return found
