"""Measures a run's model on held-out text: ce and bits a byte, with standard errors."""

import argparse

from surefoot.errors import Problem, RunError, UsageError, nearest

TAKES = "RUN [KIND ...]"
KINDS = ("val",)
EXAMPLES = """
surefoot evaluate last --tokens 20000
surefoot evaluate starter-001 --step best --json
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Take which checkpoint, and how much text."""
    add = parser.add_argument
    add("--step", metavar="STEP", help="a checkpoint: a step, best, final or pre-decay")
    add("--tokens", type=int, default=100_000, metavar="N", help="tokens to read (100000)")
    add("--device", default="auto", help="auto, cpu or cuda")


def main(asked: argparse.Namespace) -> int:
    """Measure and print."""
    name, *wanted = asked.what
    unknown = [kind for kind in wanted if kind not in KINDS]
    if unknown:
        best = nearest(unknown[0], KINDS) or list(KINDS)
        why = "there is no such evaluation"
        raise UsageError(Problem("KIND", unknown[0], why, f"Write {best[0]} (there is: val)"))
    if asked.tokens < 1:
        raise UsageError(
            Problem("--tokens", f"{asked.tokens}", "at least one is read", "Write --tokens 100000")
        )
    from surefoot.run.folder import find_run, step_of

    folder = find_run(name)

    from surefoot.evaluate.measured import measure
    from surefoot.run.opened import open_model
    from surefoot.run.opening import read_data
    from surefoot.show.amounts import figure
    from surefoot.show.printed import document, printable

    opened = open_model(folder, step_of(asked.step), asked.device)
    _, dataset = read_data(opened.recipe)
    if dataset.tokenizer.save() != opened.tokenizer.save():
        why = "its data changed: the tokenizer that it gives now is not the run's"
        raise RunError(Problem(str(folder), "", why, "Bring the old files back"), exit=3)
    found = measure(opened.model, dataset, opened.knobs, opened.device, asked.tokens)
    if asked.json:
        print(document(run=str(folder), step=opened.step, what="val", **found._asdict()))
        return 0
    print(printable(f"{folder} step {opened.step}: held-out text, {found.tokens:,} tokens"))
    print(f"  ce   {figure(found.ce)} ± {figure(found.ce_se)} nats/token")
    print(f"  bpb  {figure(found.bpb)} ± {figure(found.bpb_se)} bits/byte")
    print(f"  (± one standard error over {found.rows} rows)")
    return 0
