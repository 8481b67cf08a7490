"""Names what there is: recipes, mixers, rules, findings, runs, every kind, a line each."""

import argparse
from pathlib import Path

from surefoot import kinds
from surefoot.errors import Problem, UsageError, nearest
from surefoot.show.printed import document, printable

TAKES = "[KIND]"
EXAMPLES = """
surefoot list
surefoot list mixers
"""
RECIPES = kinds.HERE / "recipes"


def options(parser: argparse.ArgumentParser) -> None:
    """Take nothing but the kind."""


def main(asked: argparse.Namespace) -> int:
    """Print the choices of one kind, or all kinds with theirs."""
    kind = asked.what[0] if asked.what else ""
    if kind == "runs":
        return runs(asked.json)
    told = {kind: choices(kind)} if kind else {name: choices(name) for name in every()}
    if asked.json:
        print(document(**({"kind": kind, "choices": told[kind]} if kind else {"kinds": told})))
        return 0
    for name, sentences in told.items():
        if not kind:
            print(f"{name}")
        wide = max(map(len, sentences), default=0)
        for choice, sentence in sentences.items():
            print(printable(f"{'' if kind else '  '}{choice:<{wide}}  {sentence}".rstrip()))
    if not kind:
        print("runs\n  surefoot list runs  shows what lies in runs/")
    return 0


def every() -> list[str]:
    """Name the kinds that have choices."""
    return ["recipes", *(kind for kind in kinds.ROOMS if kinds.own(kind))]


def choices(kind: str) -> dict[str, str]:
    """Give each choice of a kind with its sentence."""
    if kind == "recipes":
        return {path.stem: first_comment(path) for path in sorted(RECIPES.glob("*.toml"))}
    if kind == "rules":
        from surefoot.guard import book

        return {name: entry.line() for name, entry in book.entries().items()}
    if kind == "findings":
        from surefoot.guard.meanings import meanings

        return meanings()
    if kind in kinds.ROOMS:
        return kinds.sentences(kind)
    known = ["recipes", *kinds.ROOMS, "findings", "runs"]
    best = nearest(kind, known)
    hint = f"Did you mean {best[0]}? " if best else ""
    raise UsageError(
        Problem(kind, "", "there is no such kind", f"{hint}The kinds are {', '.join(known)}")
    )


def first_comment(path: Path) -> str:
    """Read what a recipe's first comment says of it."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            return line.lstrip("# ").rstrip()
    return ""


def runs(as_json: bool) -> int:
    """Print the runs of this folder, newest first."""
    from surefoot.run.folder import age_s, all_runs, read_status, state_of
    from surefoot.show.listing import row_of, run_line

    found = [row_of(run, state_of(run), read_status(run), age_s(run)) for run in all_runs()]
    if as_json:
        print(document(runs=found))
        return 0
    if not found:
        print("no runs here yet; surefoot train makes the first")
    for row in found:
        print(printable(run_line(row)))
    return 0
