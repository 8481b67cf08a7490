"""Starts a new run: reads, measures, asks the rules, and begins."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from surefoot.errors import Problem, RecipeError, RunError, UsageError
from surefoot.guard import book
from surefoot.guard.acceptance import Names
from surefoot.guard.preflight import refusals, rule
from surefoot.recipe import write
from surefoot.recipe.checks import problems
from surefoot.recipe.schema import Recipe
from surefoot.run import drill
from surefoot.run.asked import Asked, Chosen, Ended
from surefoot.run.auditing import leaks, preflighted
from surefoot.run.beginning import (
    FILE,
    adopted,
    compared,
    origin_of,
)
from surefoot.run.device import device_of, is_here
from surefoot.run.ending import judged, trained
from surefoot.run.folder import new_folder
from surefoot.run.launched import of_each
from surefoot.run.measuring import Timed, forecast, measure, steps_in
from surefoot.run.memory_cap import capped
from surefoot.run.mode import minutes_time_steps, mode_of, shards, tell_mode
from surefoot.run.opening import Opening, begin, read_data
from surefoot.run.situated import situated
from surefoot.shelf.disk import TMP
from surefoot.shelf.format import TOKENIZER
from surefoot.show.terminal import Terminal


def started(asked: Asked, chosen: Chosen, terminal: Terminal, edge: Any) -> Ended:
    """Start a new run."""
    if asked.drill is not None:
        drill.read(asked.drill, asked.ranks.world)  # a mistake is told before the corpus is read
    if asked.start is not None:
        raise UsageError(
            Problem("--from", asked.start, "there is no run to go on with", "Add --resume RUN")
        )
    here = is_here(chosen.recipe.train.device)
    if not (here or asked.dry):
        device_of(chosen.recipe.train.device)  # says that it isn't there
    cap = capped(chosen.recipe)
    origin = origin_of(asked.init_from) if asked.init_from is not None else None
    wanted = chosen.recipe if origin is None else adopted(chosen.recipe, origin, chosen.typed)
    recipe, dataset = read_data(wanted, terminal.preparing)
    begun = None if origin is None else compared(recipe, origin, dataset.tokenizer)
    home = asked.run or Path("runs")
    mode = mode_of(recipe, asked.place)
    minutes_time_steps(recipe, mode, "train.steps" in chosen.given)
    # one rank may have no room for all of a model
    times = asked.timed and here and mode != "fsdp"
    timed = measure(recipe, dataset, asked.place) if times else None
    recipe = settled(recipe, chosen.given, timed, dataset)
    cost = forecast(recipe, dataset, nearest_folder(home), timed, shards(mode, asked.place))
    ahead = leaks(recipe)
    more = {} if begun is None else begun.situation()
    each, world = of_each(recipe, asked.ranks.world), asked.ranks.world
    situation = situated(each, dataset, cost, pin=asked.pin, leaks=ahead, world=world, **more)
    names = Names(asked.accept, tuple(recipe.guard.accept))
    findings, accepted = rule(each, situation, names)
    terminal.rules = len(book.entries())
    terminal.plan(recipe, chosen.where, dataset, cost, findings)
    if asked.dry or refusals(findings):
        return judged(recipe, cost, findings)
    folder = made(asked.run) if asked.run is not None else new_folder(recipe.name)
    if edge is not None:
        edge.folder = folder
    facts = {"forecast": asdict(cost), "parameters": dict(cost.parameters)}
    facts |= {"audit": preflighted(ahead)}
    if begun is not None:
        facts |= {"init_from": begun.row()}
        terminal.said(f"weights  {begun}")
    if cap is not None:
        facts |= {"mem_cap": cap.row()}
        terminal.said(f"memory   {cap}")
    opening = Opening(
        recipe,
        dataset,
        findings,
        facts,
        (terminal,),
        accepted=tuple(accepted),
        ranks=asked.ranks,
        launch=asked.place.launch,
        begun=begun,
        mode=mode,
    )
    tell_mode(mode, world, terminal)
    terminal.folder(folder)
    run = begin(opening, folder)
    if asked.drill is not None:
        drill.put(run, asked.drill)
    return trained(run, terminal)


def settled(recipe: Recipe, given: frozenset[str], timed: Timed | None, dataset: Any) -> Recipe:
    """Write out what was left to the machine: threads, and steps where minutes are given."""
    steps = recipe.train.steps
    if recipe.train.minutes is not None and "train.steps" not in given and timed is not None:
        steps = steps_in(recipe, timed, dataset)
    threads = timed.threads if timed is not None else recipe.train.threads
    full = write.resolved(recipe, steps=steps, threads=threads)
    if wrong := problems(full):
        raise RecipeError(*wrong)
    return full


def made(folder: Path) -> Path:
    """Make the folder that was asked for."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            Problem(
                what="--run",
                value=str(folder),
                why=f"the folder can't be made ({error.strerror})",
                instead="Write --run with a folder that can be written",
            )
        ) from None
    if foreign := [path.name for path in folder.iterdir() if not left(path.name)]:
        raise RunError(
            Problem(
                what="--run",
                value=str(folder),
                why=f"it is not empty and no run of ours ({', '.join(sorted(foreign)[:3])})",
                instead="Write --run with a new folder",
            )
        )
    return folder


def left(name: str) -> bool:
    """Say whether a file is of a start that was killed before it wrote anything."""
    return name in ("lock", "owner.json", FILE, TOKENIZER) or name.startswith(TMP)


def nearest_folder(path: Path) -> Path:
    """Give the deepest folder of a path that exists."""
    path = path.absolute()
    while not path.is_dir():
        path = path.parent
    return path
