"""Audits a model for leaks of the future: whether an output depends on later tokens."""

import argparse

TAKES = "RECIPE [key=VALUE ...]"
EXAMPLES = """
surefoot audit starter
surefoot audit starter --length 127 --json
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Take how long the audited sequences are."""
    parser.add_argument("--length", type=int, default=251, help="tokens a row, a prime is best")


def main(asked: argparse.Namespace) -> int:
    """Audit, print the table, and give 3 where something leaks."""
    from dataclasses import asdict

    import torch

    from surefoot.audit.audit import audit_recipe
    from surefoot.plan.shape import with_vocab
    from surefoot.recipe.load import load
    from surefoot.show.printed import document

    recipe = with_vocab(load(asked.what[0], asked.changes).recipe)
    verdict = audit_recipe(recipe, asked.length)
    if asked.json:
        rows = [{**asdict(m), "verdict": m.verdict(torch.float64)} for m in verdict.measures]
        print(document(**{**asdict(verdict), "measures": rows}))
        return 0 if verdict.clean else 3
    for leak in verdict.leaks:
        print(f"LEAK     {leak}")
    print(f"{'condition':<32} {'probe':<14} {'measured':>10}  verdict       seconds")
    for m in verdict.measures:
        said = m.verdict(torch.float64)
        print(f"{m.condition:<32} {m.probe:<14} {m.value:>10.1e}  {said:<12} {m.seconds:>7.2f}")
    for skipped in verdict.skipped:
        print(f"not checked: {skipped}")
    told = "clean: no output depends on a later token" if verdict.clean else "it sees the future"
    print(f"{verdict.what}: {told} ({verdict.seconds:.1f} s, fp64, {verdict.length} tokens)")
    return 0 if verdict.clean else 3
