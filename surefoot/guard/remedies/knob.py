"""Changes a knob's schedule from the next step on."""

from typing import Any

from surefoot.guard.case import Case
from surefoot.records import Finding, Remedy


def answer(finding: Finding, case: Case, knob: str, **changed: Any) -> list[Remedy]:
    """Set options of a schedule."""
    return [
        Remedy(
            id=finding.id,
            name="knob",
            step=case.step,
            generation=case.generation,
            at_step=case.step + 1,
            args={"knob": knob, "set": changed},
            answers=finding.id,
        )
    ]
