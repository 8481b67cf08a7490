"""Judges a plan before compute is spent: every rule of the book, all findings at once."""

from surefoot import kinds
from surefoot.guard.acceptance import Accepted, Names, accept
from surefoot.guard.situation import Situation
from surefoot.recipe.schema import Recipe
from surefoot.records import Finding

ORDER = {"refuse": 0, "act": 1, "warn": 2, "note": 3}


def judge(recipe: Recipe, situation: Situation) -> list[Finding]:
    """Run every rule."""
    known = kinds.names("rules")
    found = [
        finding for name in known for finding in kinds.find("rules", name).judge(recipe, situation)
    ]
    return ordered(found)


def ordered(findings: list[Finding]) -> list[Finding]:
    """Put refusals first."""
    return sorted(findings, key=lambda finding: (ORDER[finding.severity], finding.id))


def refusals(findings: list[Finding]) -> list[Finding]:
    """Keep what stops the start."""
    return [finding for finding in findings if finding.severity == "refuse"]


def rule(
    recipe: Recipe, situation: Situation, names: Names
) -> tuple[list[Finding], list[Accepted]]:
    """Judge, and turn what is accepted by name into warnings."""
    told, accepted = accept(judge(recipe, situation), names)
    return ordered(told), accepted
