"""Writes a run's model for others: a Hugging Face folder, or safetensors of any model."""

import argparse
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from surefoot.errors import Problem, UsageError

if TYPE_CHECKING:
    from surefoot.evaluate.agreement import Agreement
    from surefoot.run.exporting import Exported

TAKES = "RUN"
EXAMPLES = """
surefoot export last --to safetensors --out my-model
surefoot export starter-001 --to hf --step best --dtype bf16 --out my-llama
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Take for whom, which checkpoint, and where to."""
    from surefoot import kinds

    add = parser.add_argument
    add("--to", choices=kinds.names("exports"), help="for whom it is written")
    add("--out", metavar="FOLDER", help="a folder that is not there yet")
    add("--step", metavar="STEP", help="a checkpoint: a step, best, final or pre-decay")
    add("--dtype", choices=("fp32", "bf16"), default="fp32", help="numbers of the weights (fp32)")
    add("--verify", action=argparse.BooleanOptionalAction, default=None,
        help="compare it with what transformers loads (where that is installed)")  # fmt: skip


def main(asked: argparse.Namespace) -> int:
    """Write, compare and print; 1 where what others load is another model."""
    lacking = [
        Problem(option, "", "it has to be said", f"Write {option} {instead}")
        for option, given, instead in (
            ("--to", asked.to, "hf"), ("--out", asked.out, "a-new-folder"),
        )
        if given is None
    ]  # fmt: skip
    if lacking:
        raise UsageError(*lacking)
    there = importlib.util.find_spec("transformers") is not None
    if asked.verify and not there:
        why, instead = "transformers is not installed", "Install it:  pip install surefoot[hf]"
        raise UsageError(Problem("--verify", "", why, instead))
    from surefoot.run.exporting import export, verified
    from surefoot.run.folder import find_run, step_of
    from surefoot.show.printed import document, printable

    folder = find_run(asked.what[0])
    made = export(folder, step_of(asked.step), asked.to, Path(asked.out), asked.dtype)
    wanted = asked.verify if asked.verify is not None else there
    told = verified(made, folder) if wanted and asked.to == "hf" else None
    if asked.json:
        compared = {**told._asdict(), "fine": told.fine} if told else None
        print(document(run=str(folder), step=made.step, to=asked.to, out=str(made.folder),
                       dtype=asked.dtype, files=made.files, verified=compared))  # fmt: skip
    else:
        print(printable(lines(made, told, asked.to), keep="\n"))
    return 0 if told is None or told.fine else 1


def lines(made: "Exported", told: "Agreement | None", to: str) -> str:
    """Say what was written, how it is loaded, and whether that was tried."""
    size = sum(made.files.values()) / 2**20
    found = [f"{made.folder}: step {made.step}, {len(made.files)} files, {size:.1f} MiB"]
    found.append(f"load    {made.loading}")
    if told is not None:
        text = "the same text" if told.greedy else "OTHER TEXT"
        fine = "verified" if told.fine else "DIFFERS "
        found.append(f"{fine} by transformers: logits within {told.logits:.1e}, {text}")
    elif to == "hf":
        found.append("not verified: transformers is not installed, or --no-verify was written")
    return "\n".join(found)
