"""What a planted fault should be found by, how soon, and whether the guard can undo it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ONSET = 400  # the step at which most faults begin; monitors have settled by then


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """The label of one file in bench/faults."""

    finds: tuple[str, ...]  # ids of findings, any of which names the trouble rightly
    within: int  # steps after the onset
    sudden: bool = False  # whether the loss shows it at once
    curable: bool = False  # whether a rewind, a skip or a bend can undo it
    onset: int = ONSET
    changes: Mapping[str, Any] = field(default_factory=dict[str, Any])  # keys of the recipe
