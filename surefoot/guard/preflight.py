"""Judges a plan before compute is spent: every rule of the book, all findings at once."""

from dataclasses import replace

from surefoot import kinds
from surefoot.errors import Problem, UsageError, nearest
from surefoot.guard.situation import Situation
from surefoot.recipe.schema import Recipe
from surefoot.records import Finding

ORDER = {"refuse": 0, "act": 1, "warn": 2, "note": 3}


def judge(recipe: Recipe, situation: Situation, accepted: tuple[str, ...] = ()) -> list[Finding]:
    """Run every rule; what is accepted by name becomes a warning."""
    known = kinds.names("rules")
    for name in accepted:
        if name not in known:
            best = nearest(name, known) or known[:1]
            raise UsageError(
                Problem("--accept", name, "there is no such rule", f"Write --accept {best[0]}")
            )
    found = [
        finding for name in known for finding in kinds.find("rules", name).judge(recipe, situation)
    ]
    told = [soften(finding, accepted) for finding in found]
    return sorted(told, key=lambda finding: (ORDER[finding.severity], finding.id))


def soften(finding: Finding, accepted: tuple[str, ...]) -> Finding:
    """Turn an accepted refusal into a warning that says so."""
    if finding.severity != "refuse" or finding.id not in accepted:
        return finding
    return replace(finding, severity="warn", why=f"{finding.why} (accepted by name)")


def refusals(findings: list[Finding]) -> list[Finding]:
    """Keep what stops the start."""
    return [finding for finding in findings if finding.severity == "refuse"]
