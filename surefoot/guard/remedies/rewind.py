"""Goes back to the newest trusted checkpoint, as a new generation of the run."""

from surefoot.guard.case import Case, Kept
from surefoot.records import Finding, Remedy


def answer(finding: Finding, case: Case, target: Kept) -> list[Remedy]:
    """Go back to a checkpoint; what is thrown away stays in the journal."""
    return [
        Remedy(
            id=finding.id,
            name="rewind",
            step=case.step,
            generation=case.generation,
            at_step=target.step + 1,
            args={
                "to_step": target.step,
                "from_generation": target.generation,
                "generation": newest(case) + 1,
            },
            answers=finding.id,
        )
    ]


def newest(case: Case) -> int:
    """Give the latest generation that there was."""
    opened = [int(r.args["generation"]) for r in case.remedies if r.name == "rewind"]
    return max([case.generation, *opened])
