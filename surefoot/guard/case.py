"""What the playbook knows when it answers: the run so far, in plain numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from surefoot.recipe.schema import Recipe
from surefoot.records import Finding, Remedy


@dataclass(frozen=True, slots=True)
class Kept:
    """A checkpoint that a run could go back to."""

    generation: int
    step: int
    quiet: bool  # no act episode was open at its step, and the loss stood near its best


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A run as the playbook sees it; everything in it is replayed on a resume."""

    recipe: Recipe
    step: int
    generation: int
    mode: str = "act"
    lr: Mapping[str, float] = field(default_factory=dict[str, float])  # planned now, by role
    knobs: Mapping[str, Any] = field(default_factory=dict[str, Any])  # schedules' options in force
    remedies: Sequence[Remedy] = ()
    acts: Sequence[Finding] = ()  # act findings of the run so far, this one included
    kept: Sequence[Kept] = ()  # checkpoints on the way here, newest first
    rows: int = 1  # of a step
    first_position: int = 0  # of the data that the finding is about
    stop_position: int = 0
