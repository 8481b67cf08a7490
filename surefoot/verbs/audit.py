"""Audits a model for leaks of the future: whether an output depends on later tokens."""

import argparse

from surefoot.errors import Problem, UsageError

TAKES = "WHAT [key=VALUE ...]"
EXAMPLES = """
surefoot audit starter
surefoot audit package.models:Transformer --args '{"dim": 64}' --full
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Take how a model that isn't ours is made and called, and how closely to look."""
    add = parser.add_argument
    add("--args", default="", metavar="JSON", help="arguments of module:Class")
    add("--forward", default="", metavar="NAME", help="the method to call, if not the model itself")
    add("--input", choices=("ids", "floats"), default="", help="what it reads, if that isn't found")
    add("--length", type=int, default=0, metavar="N", help="tokens a row, a prime is best (251)")
    add(
        "--budget",
        type=float,
        default=0.0,
        metavar="S",
        help="seconds; what is left out is no pass",
    )
    add("--full", action="store_true", help="full size in fp64, the recipe's own text, the map")


def main(asked: argparse.Namespace) -> int:
    """Audit, print the table, and give 3 where something leaks."""
    for name, least in (("length", 8), ("budget", 0.0)):
        given = getattr(asked, name)
        if given and given < least:
            why = f"it is at least {least:g}" if least else "it is a time in seconds"
            raise UsageError(Problem(f"--{name}", f"{given:g}", why, "Leave it out"))
    verdict = audited(asked)

    from dataclasses import asdict

    from surefoot.audit.verdict import report
    from surefoot.show.printed import document, printable

    if asked.json:
        rows = [{**asdict(m), "verdict": m.verdict} for m in verdict.measures]
        print(document(**{**asdict(verdict), "measures": rows, "state": verdict.state,
                          "clean": verdict.clean}))  # fmt: skip
    else:
        for line in report(verdict, asked.full):
            print(printable(line))
    return verdict.exit


def audited(asked: argparse.Namespace):
    """Find what is meant: a class, a run or a checkpoint, or a recipe."""
    from pathlib import Path

    from surefoot.audit.audit import audit_module, audit_recipe
    from surefoot.plan.shape import with_vocab
    from surefoot.recipe.load import load

    what = asked.what[0]
    if ":" in what and not Path(what).exists():
        from surefoot.audit.foreign import named_module

        made = named_module(what, asked.args)
        how = (asked.length, asked.budget, asked.forward, asked.input, asked.full)
        return audit_module(made, *how)
    if run := run_of(what):
        return of_run(*run, asked)
    recipe = with_vocab(load(what, asked.changes).recipe)
    text = None
    if asked.full:
        from surefoot.run.opening import read_data

        recipe, text = read_data(load(what, asked.changes).recipe)
    return audit_recipe(recipe, asked.length or 251, asked.budget, asked.full, text)


def run_of(what: str):
    """Find a run's folder and the step that is meant; None where it is no run."""
    from pathlib import Path

    from surefoot.run.folder import ROOT, find_run, is_run

    folder = Path(what)
    if (folder / "state.json").is_file() and (folder / "manifest.json").is_file():
        return folder, folder
    if is_run(folder) or is_run(ROOT / what) or what == "last":
        return find_run(what), None
    if folder.name in ("best", "final", "latest", "pre-decay") and is_run(folder.parent):
        return folder.parent, folder.name
    return None


def of_run(folder, step, asked: argparse.Namespace):
    """Audit the weights of a checkpoint."""
    from surefoot.audit.audit import audit_trained
    from surefoot.run.opened import open_model

    if asked.changes:
        why = "a run's model is what it was trained as"
        raise UsageError(Problem(asked.changes[0], "", why, "Leave it out"))
    opened = open_model(folder, None if step == folder else step, "cpu")
    what = str(folder) if step == folder else f"{folder} step {opened.step}"
    how = {"length": asked.length or 251, "budget": asked.budget, "full": asked.full}
    return audit_trained(what, opened.model, opened.knobs, opened.recipe, **how)
