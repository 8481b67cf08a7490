"""One call of `surefoot train` or `preflight`: from what was typed to how it ended."""

from typing import Any

from surefoot.errors import Problem, RecipeError, UsageError
from surefoot.recipe import load as recipes
from surefoot.run.asked import Asked, Chosen, Ended
from surefoot.run.folder import find_run
from surefoot.run.going_on import resumed
from surefoot.run.launched import first_ranks, fitting, spread
from surefoot.run.resuming import as_there, barred, differences, planned, refuse, stored
from surefoot.run.starting import started
from surefoot.show.terminal import Terminal


def session(asked: Asked, terminal: Terminal, edge: Any = None) -> Ended:
    """Choose, check, and train."""
    chosen = choose(asked)
    if chosen.folder is not None:
        if edge is not None:
            edge.folder = chosen.folder
        return resumed(asked, chosen, terminal)
    return started(asked, chosen, terminal, edge)


def choose(asked: Asked) -> Chosen:
    """Find the recipe: of the run to go on with, or the one that is named."""
    if asked.resume is not None:
        if asked.init_from is not None:
            why = "it starts a new run, and --resume goes on with an old one"
            raise UsageError(Problem("--init-from", asked.init_from, why, "Leave out --resume"))
        folder = find_run(asked.resume)
        there = stored(folder)
        if asked.named and asked.what:
            loaded = recipes.load(asked.what, asked.changes)
            recipe = as_there(loaded.recipe, there, first_ranks(folder))
        else:
            loaded = recipes.load(folder / "recipe.toml", asked.changes)
            recipe = as_there(loaded.recipe, there)
        return Chosen(recipe, loaded.where, frozenset(loaded.sources), folder, there)
    loaded = recipes.load(asked.what, asked.changes)
    given = frozenset(loaded.sources)
    if asked.run is not None and (asked.run / "recipe.toml").is_file():
        there = stored(asked.run)
        recipe = as_there(loaded.recipe, there, first_ranks(asked.run))
        if asked.init_from is not None:  # its weights brought their tokenizer
            data = recipe.data.model_copy(update={"tokenizer": there.data.tokenizer})
            recipe = recipe.model_copy(update={"data": data})
        changed = differences(there, recipe)
        refuse(asked.run, {k: v for k, v in changed.items() if barred({k: v}) or planned(k)})
        return Chosen(recipe, loaded.where, given, asked.run, there)
    recipe = spread(loaded.recipe, asked.ranks.world)
    if wrong := fitting(recipe, asked.ranks.world):
        raise RecipeError(*wrong)
    typed = frozenset(key for key, who in loaded.sources.items() if who == "command line")
    return Chosen(recipe, loaded.where, given, typed=typed)
