"""Decides how several ranks share the weights: whole on each, or rows of them."""

from typing import Literal

from surefoot.errors import Problem, RunError
from surefoot.model.facts import forecast_parameters
from surefoot.plan.shape import shape
from surefoot.recipe.schema import Recipe
from surefoot.run.device import is_here, kind_of
from surefoot.run.forecast import state_gib
from surefoot.run.launched import Place
from surefoot.run.situated import device_gib
from surefoot.show.terminal import Terminal

Mode = Literal["", "ddp", "fsdp"]  # none with one rank
FITS = 0.6  # of a device, by weights, gradients and optimiser state: the rest is work


def mode_of(recipe: Recipe, place: Place) -> Mode:
    """Choose for these ranks, unless the recipe does; with `exact` sums weights stay whole."""
    asked = recipe.distributed.mode
    if place.world == 1:
        return ""
    if asked != "auto":
        return asked
    if recipe.distributed.reduce == "exact" or not is_here(recipe.train.device):
        return "ddp"
    room = device_gib(recipe.train.device)
    if kind_of(recipe.train.device) == "cpu":
        room /= place.local_world
    needed = state_gib(recipe, forecast_parameters(recipe.model, shape(recipe)))
    return "ddp" if needed <= FITS * room else "fsdp"


def shards(mode: Mode, place: Place) -> int:
    """Count the ranks that share one set of weights."""
    return place.world if mode == "fsdp" else 1


def minutes_time_steps(recipe: Recipe, mode: Mode, steps_given: bool) -> None:
    """Refuse minutes without steps where weights are sharded: no one rank can time a step."""
    if mode == "fsdp" and recipe.train.minutes is not None and not steps_given:
        why = "a sharded step can't be timed before the run begins, so minutes give no steps"
        raise RunError(
            Problem("train.minutes", str(recipe.train.minutes), why, "Write train.steps"), exit=2
        )


def tell_mode(mode: Mode, ranks: int, terminal: Terminal) -> None:
    """Say where weights are shared out."""
    if mode == "fsdp":
        terminal.said(f"ranks    {ranks}, each with its own rows of the weights (fsdp)")
