"""Audits the model of a run: before it starts, and once it has left its first values behind."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from surefoot.guard.acceptance import before
from surefoot.recipe.schema import Recipe
from surefoot.records import Event, Finding, read

if TYPE_CHECKING:
    from surefoot.run.run import Run

TAKEN = {"causality", "noncausal"}  # with either accepted, a leak is told and stops nothing


def leaks(recipe: Recipe) -> tuple[str, ...]:
    """Ask the audit's quick form whether the model sees the future."""
    from surefoot.audit.audit import quick

    return quick(recipe)


def preflighted(leaks: tuple[str, ...]) -> dict[str, Any]:
    """Keep what the quick form found before the first step."""
    return {"preflight": {"state": "leak" if leaks else "pass", "leaks": list(leaks)}}


def due(run: "Run") -> bool:
    """Say whether the step just done is the one to audit after."""
    return run.progress.step == run.recipe.guard.audit_after


def audited(run: "Run") -> Iterator[Finding | Event]:
    """Audit a copy, keep the verdict for every checkpoint from here on, and tell of it."""
    from surefoot.audit.audit import quick_trained  # not before it is due: it costs an import

    step, generation = run.progress.step, run.progress.generation
    knobs = run.plan.at(step).values
    verdict = quick_trained(run.lead.model(run), knobs, run.recipe)
    told: Mapping[str, Any] = {**verdict.brief(), "step": step}
    run.audit = {**run.audit, "trained": told}
    yield Event(name="audited", step=step, generation=generation, args=verdict.brief())
    if verdict.clean:
        return
    journal = run.folder / "journal.jsonl"
    taken = TAKEN & {one.id for one in before(read(journal))}
    for said in verdict.leaks or verdict.defects or [str(verdict)]:
        yield finding(run, said, leak=verdict.state == "leak" and not taken)


def finding(run: "Run", said: str, leak: bool) -> Finding:
    """Say what was found, and that it stops the run."""
    why = "a loss that has seen the answer says nothing (003, 004)"
    return Finding(
        id="causality",
        severity="act" if leak else "warn",
        what="model.pattern",
        value=f'"{run.recipe.model.pattern}"',
        why=f"{said}: {why}" if leak else said,
        instead=f"Run surefoot audit {run.folder} and mend what it names",
        step=run.progress.step,
        generation=run.progress.generation,
        source="audit",
    )
