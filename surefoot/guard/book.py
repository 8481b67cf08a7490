"""The rule book: every id with its severities, what it looks for, and the seed that taught it.

Read off the rule files' `BOOK` without importing them, so that listing it costs nothing.
"""

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

from surefoot import kinds

# What is refused elsewhere: where a recipe is read, a corpus prepared, a run folder opened.
ELSEWHERE = ("recipe/checks.py", "data/own_validation.py", "run/opening.py", "run/resuming.py")
FINAL = "refuse!"


@dataclass(frozen=True, slots=True)
class Entry:
    """One rule of the book."""

    id: str
    severity: str  # the worst first; "refuse!" can't be accepted
    sentence: str
    source: str  # the seeds, by number
    file: str

    @property
    def final(self) -> bool:
        """Say whether no name on the command line lifts it."""
        return self.severity == FINAL

    def line(self) -> str:
        """Write the rule as `surefoot list rules` shows it."""
        return f"[{self.severity}] {self.sentence}{f' ({self.source})' if self.source else ''}"


@cache
def entries() -> dict[str, Entry]:
    """Give every rule of preflight by its id."""
    own = {name: kinds.folder("rules") / f"{name}.py" for name in kinds.own("rules")}
    told = [entry for name, path in own.items() for entry in read(path, name)]
    for name in kinds.foreign("rules"):
        written: Any = getattr(kinds.find("rules", name), "BOOK", None)
        told += made(written or {name: ("refuse", "a rule of a plug-in", "")}, name)
    return {entry.id: entry for entry in sorted(told, key=lambda entry: entry.id)}


@cache
def elsewhere() -> dict[str, Entry]:
    """Give what is refused before the rules are asked."""
    return {entry.id: entry for name in ELSEWHERE for entry in read(kinds.HERE / name, name)}


def read(path: Path, file: str) -> list[Entry]:
    """Read a file's BOOK from its syntax tree."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "BOOK":
            return made(ast.literal_eval(node.value), file)
    return [Entry(path.stem, "refuse", kinds.sentence(path), "", file)]


def made(written: Any, file: str) -> list[Entry]:
    """Make entries of what a file's BOOK says."""
    lines = cast("dict[str, tuple[str, str, str]]", written)
    return [Entry(name, *parts, file) for name, parts in lines.items()]


def page() -> str:
    """Write docs/rules.md."""
    head = "| id | severity | what it looks for | from |\n|---|---|---|---|"

    def rows(book: dict[str, Entry]) -> str:
        return "\n".join(
            f"| `{one.id}` | {one.severity} | {one.sentence} | {one.source or '-'} |"
            for one in book.values()
        )

    return f"""# Rules

`surefoot preflight RECIPE` runs every rule below, and so does each `surefoot train` before it
starts. All findings are shown at once. A refusal is exit code 3 and nothing was started; `--accept
ID`, or `guard.accept = ["ID"]` in the recipe, turns that one refusal into a warning for this one
value. A rule marked `!` can't be accepted: no meaningful run exists behind it.

A run is long if its forecast is `guard.long_hours` (2.0) or more, or if it has 5000 steps or more
on a GPU. `surefoot preflight RECIPE --device cuda` judges a plan for a GPU that isn't there.

The numbers 000 to 004 stand for the five training reports that the rules were learnt from.

## Judged by preflight

{head}
{rows(entries())}

## Judged before

These stop with exit code 2 where a recipe or a corpus is read, or 3 where a run folder is opened.

{head}
{rows(elsewhere())}
"""
