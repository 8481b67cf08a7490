"""Answers a finding with a remedy that is written down."""

from surefoot import kinds
from surefoot.records import Finding, Remedy

# What each act-level finding is answered with; the rest are told and left to the person.
ANSWERS = {"nonfinite": "stop", "lr_unplanned": "stop"}
PROTECTING = frozenset({"stop"})  # done in advise mode too: they only keep what there is


def answer(finding: Finding, mode: str = "act") -> Remedy | None:
    """Give the remedy of an act-level finding, or None where there is nothing to do."""
    name = ANSWERS.get(finding.id)
    if finding.severity != "act" or name is None:
        return None
    if mode != "act" and name not in PROTECTING:
        return None
    return kinds.find("remedies", name).answer(finding)
