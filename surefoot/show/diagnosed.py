"""A diagnosis as lines: what was read and how, what was found, what came first."""

from collections.abc import Mapping, Sequence
from typing import Any

from surefoot.records import Finding
from surefoot.show.lines import WORDS
from surefoot.show.printed import printable

INDENT = " " * 9
FEW = 200  # rows


def file_lines(file: Mapping[str, Any]) -> list[str]:
    """Say how a file was read, and what was left out of it."""
    runs: Sequence[Mapping[str, Any]] = file["runs"]
    rows = sum(run["rows"] for run in runs)
    front = f"read     {file['path']} as {file['reader']}: "
    if len(runs) == 1:
        front += f"{rows} rows, {steps(runs[0])}, "
    else:
        front += f"{len(runs)} runs, {rows} rows, "
    coverage = ", ".join(named(name, called) for name, called in file["fields"].items())
    missing = ", ".join(file["missing"])
    told = [f"{front}coverage: {coverage}{f' · missing: {missing}' if missing else ''}"]
    told += [f"{INDENT}left out {count} rows: {why}" for why, count in file["left_out"].items()]
    told += [f"{INDENT}{said}" for said in file["said"]]
    return [printable(line) for line in told]


def named(name: str, called: str) -> str:
    """Name a field, and what the log calls it where that differs."""
    return name if name == called else f"{name} ({called})"


def steps(run: Mapping[str, Any]) -> str:
    """Give a run's first and last step."""
    return f"steps {run['first_step']}–{run['last_step']}"


def run_lines(run: Mapping[str, Any], alone: bool) -> list[str]:
    """Head a run of several, and say by which rules it was judged."""
    told = [] if alone else [f"run      {run['title']}: {run['rows']} rows, {steps(run)}"]
    if run["coarse"]:
        gap = f"{run['spacing']:g} steps"
        told.append(f"{INDENT}rows are {gap} apart: judged by table rules, not by statistics")
    elif run["rows"] < FEW:
        told.append(f"{INDENT}{run['rows']} rows: most statistics need {FEW} and more")
    return [printable(line) for line in told]


def found_lines(finding: Finding) -> list[str]:
    """Say what was found where, and below it what to do."""
    told = finding.what.startswith(f"step {finding.step}")
    where = f"step {finding.step}: " if finding.step and not told else ""
    shown = f"{finding.what} {finding.value}".strip()
    word = WORDS[finding.severity]
    return [
        printable(f"  {word:<7}{finding.id}  {where}{shown}: {finding.why}."),
        printable(f"{INDENT}{finding.instead}"),
    ]


def end_lines(causes: Sequence[tuple[str, Finding]], unjudged: Mapping[str, str]) -> list[str]:
    """Name what came first in each run, and the rules that could not be asked."""
    told = [
        f"first cause{f' in {title}' if title else ''}: {one.id}"
        f"{f' at step {one.step}' if one.step else ''}. {one.instead}"
        for title, one in causes
    ]
    needs: dict[str, list[str]] = {}
    for rule, option in unjudged.items():
        needs.setdefault(option, []).append(rule)
    told += [f"not judged: {', '.join(rules)} (needs {option})" for option, rules in needs.items()]
    return [printable(line) for line in told]
