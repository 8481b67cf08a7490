"""Saves and stops the run."""

from surefoot.guard.case import Case
from surefoot.records import Finding, Remedy


def answer(finding: Finding, case: Case, reason: str = "") -> list[Remedy]:
    """Stop after the step that the finding is about."""
    return [
        Remedy(
            id=finding.id,
            name="stop",
            step=case.step,
            generation=case.generation,
            at_step=case.step + 1,
            args={"reason": reason or f"{finding.id}: {finding}"},
            answers=finding.id,
        )
    ]
