"""What is accepted by name: one refusal, at one value, written down with who said so."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from surefoot.errors import Problem, UsageError, nearest
from surefoot.guard import book
from surefoot.records import Event, Finding, Record

Who = Literal["cli", "recipe"]
RECIPE = "guard.accept"
STOPPED = "stopped"  # no rule of preflight: going on with a run that the guard has stopped


@dataclass(frozen=True, slots=True)
class Accepted:
    """One refusal that somebody takes upon himself."""

    id: str
    value: str
    who: Who

    def event(self, step: int, generation: int) -> Event:
        """Give the journal's line of it."""
        args = {"id": self.id, "value": self.value, "who": self.who}
        return Event(name="accepted", step=step, generation=generation, args=args)


@dataclass(frozen=True, slots=True)
class Names:
    """What is named for acceptance, and what the run's journal says was accepted before."""

    cli: tuple[str, ...] = ()
    recipe: tuple[str, ...] = ()
    before: tuple[Accepted, ...] = ()
    taken: tuple[Accepted, ...] = ()  # needed already, for what is no rule of preflight

    def who(self, finding: Finding) -> Who | None:
        """Say who accepts a refusal at its value."""
        if finding.id in self.cli:
            return "cli"
        same = [one for one in self.before if one.id == finding.id]
        for one in same:
            if one.value == finding.value:
                return one.who
        # what a recipe names held for the value that stood there when it began
        return "recipe" if finding.id in self.recipe and not same else None


def before(records: Iterable[Record]) -> tuple[Accepted, ...]:
    """Read from a journal what was accepted."""
    found = [
        Accepted(str(record.args["id"]), str(record.args["value"]), record.args["who"])
        for record in records
        if isinstance(record, Event) and record.name == "accepted"
    ]
    return tuple(dict.fromkeys(found))


def accept(findings: Sequence[Finding], names: Names) -> tuple[list[Finding], list[Accepted]]:
    """Turn what is accepted into warnings; a name that is unknown or not needed is a mistake."""
    check(findings, names)
    told: list[Finding] = []
    taken = list(names.taken)
    for finding in findings:
        who = names.who(finding) if acceptable(finding) else None
        if who is None:
            told.append(finding)
            continue
        taken.append(Accepted(finding.id, finding.value, who))
        told.append(
            replace(finding, severity="warn", why=f"{finding.why}; accepted by name ({who})")
        )
    return told, taken


def acceptable(finding: Finding) -> bool:
    """Say whether a finding is a refusal that a person may take upon himself."""
    return finding.severity == "refuse" and not finding.evidence.get("final")


def check(findings: Sequence[Finding], names: Names) -> None:
    """Refuse names of no rule, of rules that can't be accepted, and of rules that are content."""
    refused = {finding.id for finding in findings if acceptable(finding)}
    earlier = {one.id for one in (*names.before, *names.taken)}
    wrong = [
        problem
        for key, given in (("--accept", names.cli), (RECIPE, names.recipe))
        for name in dict.fromkeys(given)
        if (problem := problem_of(key, name, refused, earlier)) is not None
    ]
    if wrong:
        raise UsageError(*wrong)


def problem_of(key: str, name: str, refused: set[str], earlier: set[str]) -> Problem | None:
    """Say what is wrong with one name."""
    if name in refused or name in earlier:
        return None
    known, outside = book.entries(), book.elsewhere()
    if name not in known and name not in outside and name != STOPPED:
        best = nearest(name, known) or sorted(refused) or sorted(known)
        return Problem(key, name, "there is no such rule", f"Did you mean {best[0]}? {shown(key)}")
    entry = known.get(name) or outside.get(name)
    if entry is not None and (entry.final or name in outside):
        why = f"this rule can't be accepted: {entry.sentence}"
        return Problem(key, name, why, "Mend what it names, and leave this out")
    if key == RECIPE and entry is not None and "refuse" in entry.severity:
        return None  # a recipe is written once, for data and devices of many sizes
    instead = f"Leave it out{'' if not refused else ': refused are ' + ', '.join(sorted(refused))}"
    return Problem(key, name, "nothing of this name is refused here", instead)


def shown(key: str) -> str:
    """Say where the names stand."""
    return f"Write {key} with one of  surefoot list rules"
