"""Leaves a range of the data order out."""

from surefoot.guard.case import Case
from surefoot.records import Finding, Remedy

BEFORE, AFTER = 10, 50  # steps around the suspicious ones (PaLM skipped 200 to 500 batches)


def answer(finding: Finding, case: Case, at_step: int = 0) -> list[Remedy]:
    """Skip the data from before the first suspicious step to after the alarm."""
    born = at_step or case.step + 1
    return [
        Remedy(
            id=finding.id,
            name="skip",
            step=case.step,
            generation=case.generation,
            at_step=born,
            args={"positions": [case.first_position, case.stop_position]},
            answers=finding.id,
        )
    ]
