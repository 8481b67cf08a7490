"""Multiplies a learning rate from the next step on, over a short ramp."""

from surefoot.guard.case import Case
from surefoot.records import Finding, Remedy


def answer(
    finding: Finding, case: Case, factor: float, role: str = "", at_step: int = 0
) -> list[Remedy]:
    """Scale the rate of one role, or of all."""
    return [
        Remedy(
            id=finding.id,
            name="lr_scale",
            step=case.step,
            generation=case.generation,
            at_step=at_step or case.step + 1,
            args={"factor": factor, **({"role": role} if role else {})},
            answers=finding.id,
        )
    ]
