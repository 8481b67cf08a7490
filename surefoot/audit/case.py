"""What a probe is given: a subject under a condition, a length, and where the past ends."""

from dataclasses import dataclass

from surefoot.audit.pipeline import Pipeline
from surefoot.audit.subject import Subject


@dataclass(frozen=True, slots=True)
class Case:
    """One model under one condition, and the batches that it learns from, where there are any."""

    subject: Subject
    length: int
    cuts: list[int]
    isolated: bool = True  # whether no row saw another: probes then use one row a cut
    pipeline: Pipeline | None = None
    sweep: bool = False  # whether only later tokens are redrawn, at very many cuts
    full: bool = False  # whether time is no object
