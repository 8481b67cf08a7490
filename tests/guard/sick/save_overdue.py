"""A run whose saves are never finished after the first."""

from surefoot.records import Event, Record
from tests.guard.traces import RECIPE, run

EVERY = RECIPE.save.every
ONSET, LATENCY = 3 * EVERY + 1, 0  # two more were due


def trace() -> list[Record]:
    return [one for one in run() if not (isinstance(one, Event) and one.step > EVERY)]
