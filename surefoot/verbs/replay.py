"""Does one step of a run again and shows which documents and layers made it what it was."""

import argparse
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from surefoot.errors import Problem, UsageError

if TYPE_CHECKING:
    from surefoot.run.replaying import Replay

TAKES = "RUN"
EXAMPLES = """
surefoot replay last --step 120
surefoot replay starter-001 --step 120 --generation 0 --json
"""
SHOWN = 5  # documents


def options(parser: argparse.ArgumentParser) -> None:
    """Take which step."""
    add = parser.add_argument
    add("--step", type=int, metavar="N", help="the step to do again")
    add("--generation", type=int, metavar="G", help="of the steps with this number, if a rewind")
    add("--documents", type=int, default=SHOWN, metavar="N", help=f"documents to show ({SHOWN})")


def main(asked: argparse.Namespace) -> int:
    """Replay and print; 0 also where the bits differ, which is what one wants to know."""
    if asked.step is None or asked.step < 1:
        value = "" if asked.step is None else str(asked.step)
        raise UsageError(
            Problem("--step", value, "a step counts from 1", "Write --step 120 (the step to redo)")
        )
    from surefoot.run.folder import find_run

    folder = find_run(asked.what[0])

    import sys

    from surefoot.run.replaying import replay
    from surefoot.show.printed import document, printable

    def say(text: str) -> None:
        print(printable(text), file=sys.stderr)

    found = replay(folder, asked.step, asked.generation, say)
    if asked.json:
        print(document(run=str(folder), **told(found, asked.documents)))
        return 0
    for line in lines(str(folder), found, asked.documents):
        print(printable(line))
    return 0


def told(found: "Replay", documents: int) -> dict[str, Any]:
    """Give all of it as plain numbers."""
    return {
        "step": found.told.step,
        "generation": found.told.generation,
        "other_generations": found.others,
        "from_step": found.start,
        "redone": found.told.step - 1 - found.start,
        "exact": found.exact,
        "differs": {name: {"then": a, "now": b} for name, (a, b) in found.differs.items()},
        "astray_at": found.astray or None,
        "reasons": found.reasons,
        "notes": found.notes,
        "loss": found.again.loss,
        "ce": found.again.ce,
        "grad_norm": found.again.grad_norm,
        "usual": found.usual,
        "position": found.again.position,
        "skipped_micro": found.again.skipped_micro or [],
        "grad_norms": found.inside.grad_norms,
        "documents": [asdict(piece) for piece in found.inside.pieces[:documents]],
    }


def lines(folder: str, found: "Replay", documents: int) -> list[str]:
    """Say it in words."""
    from surefoot.show.amounts import figure

    again, step = found.again, found.told
    source = f"step {found.start}'s checkpoint" if found.start else "the first values"
    redone = step.step - 1 - found.start
    shown = [f"{folder} step {step.step} (generation {step.generation}), {redone} redone from "
             f"{source}"]  # fmt: skip
    shown += [f"  {note}" for note in found.notes]
    if found.others:
        numbers = ", ".join(map(str, found.others))
        shown.append(f"  also done in generation {numbers}: --generation shows that one")
    shown += verdict(found)
    for name, value in (("loss", again.loss), ("grad_norm", again.grad_norm)):
        before = found.usual.get(name)
        usual = "" if before is None else f"   usual before it: {figure(before)}"
        shown.append(f"  {name:<10} {figure(value):>10}{usual}")
    for part in again.skipped_micro or []:
        shown.append(f"  left out   micro-batch {part['micro']} ({part['what']}, {part['layer']})")
    shown.append("  gradient norm by part")
    shown += [f"    {name:<20} {figure(norm)}" for name, norm in found.inside.grad_norms.items()]
    shown.append("  documents that carry more of the loss than their size explains")
    for piece in found.inside.pieces[:documents]:
        share = f"{100 * piece.loss_share:.1f}% of the loss, {100 * piece.target_share:.1f}%"
        shown.append(f"    document {piece.document}, row {piece.row}: ce {figure(piece.ce)}, "
                     f"{share} of the targets")  # fmt: skip
        worst = f"worst {piece.worst!r} ({figure(piece.worst_ce)}) in {piece.text!r}"
        shown.append(f"      {worst}")
    return shown


def verdict(found: "Replay") -> list[str]:
    """Say whether the step came out as before, and if not, what may be why."""
    if found.exact:
        return ["  reproduced bit by bit"]
    names = ", ".join(f"{name} {a} then, {b} now" for name, (a, b) in found.differs.items())
    shown = [f"  not the same bits: {names}"]
    if found.astray:
        shown.append(f"  it went another way from step {found.astray} on")
    shown += [f"  {reason}" for reason in found.reasons]
    return shown
