"""What a call of `surefoot train` is asked, what that comes to, and how it ends."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from surefoot.learn.ranks import Ranks
from surefoot.recipe.schema import Recipe
from surefoot.run.launched import Place


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person asked for."""

    what: str = "starter"
    named: bool = True  # whether `what` was written, or is the default
    changes: tuple[str, ...] | Mapping[str, Any] = ()
    run: Path | None = None
    resume: str | None = None
    start: str | None = None
    resume_lr: str | None = None
    fresh: tuple[str, ...] = ()
    drill: str | None = None
    accept: tuple[str, ...] = ()
    pin: str | None = None
    dry: bool = False
    init_from: str | None = None
    timed: bool = True
    place: Place = Place()  # noqa: RUF009 (frozen)
    ranks: Ranks = field(default_factory=Ranks)


@dataclass(frozen=True, slots=True)
class Ended:
    """How it ended."""

    exit: int
    status: Mapping[str, Any] = field(default_factory=dict[str, Any])
    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class Chosen:
    """The recipe that will run, and the run that it goes on with, if any."""

    recipe: Recipe
    where: str
    given: frozenset[str]  # dotted keys that somebody wrote
    folder: Path | None = None
    there: Recipe | None = None  # what the run folder holds
    typed: frozenset[str] = frozenset()  # those of `given` that the command line has
