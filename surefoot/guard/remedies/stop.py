"""Saves and stops the run."""

from surefoot.records import Finding, Remedy


def answer(finding: Finding) -> Remedy:
    """Stop after the step that the finding is about."""
    return Remedy(
        id=finding.id,
        name="stop",
        step=finding.step,
        generation=finding.generation,
        at_step=finding.step + 1,
        args={"reason": f"{finding.id}: {finding}"},
        answers=finding.id,
    )
