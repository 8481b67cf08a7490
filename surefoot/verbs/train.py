"""Trains a model: checks the plan, then trains into a new run folder, or goes on with a run."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from surefoot.learn.ranks import Ranks
    from surefoot.run.launched import Place

TAKES = "[RECIPE] [key=VALUE ...]"
EXAMPLES = """
surefoot train train.steps=20 val.every=0
surefoot train --resume last
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Take where to train, what to go on from, and what is accepted."""
    add = parser.add_argument
    add("--run", metavar="DIR", help="run folder; an unfinished run of this recipe goes on")
    add("--resume", metavar="RUN", help="go on with a run: a folder, a name, or `last`")
    add("--from", dest="start", metavar="STEP", help="with --resume: a step, best or pre-decay")
    add("--resume-lr", metavar="WAY", help="if the rate would jump: branch, ramp[=STEPS], peak=X")
    add("--init-from", metavar="WEIGHTS", help="begin a new run from a run, a folder or a file")
    add("--fresh-optimizer", action="append", default=[], metavar="ROLE", help="drop its state")
    add("--total-steps", type=int, metavar="N", help="the same as train.steps=N")
    add("--accept", action="append", default=[], metavar="ID", help="accept a refusal by its name")
    add("--pin", metavar="SHA", help="hash of the recipe that this must be")
    add("--procs", type=int, metavar="N", help="ranks on this machine that share each step")
    add("--device", help="auto, cpu or cuda")
    add("--drill", metavar="KIND@STEP", help="put a fault in on purpose, to see it answered")
    add("--plain", action="store_true", help="plain lines: no colour, nothing redrawn")
    add("--quiet", action="store_true", help="findings and results alone")
    add("--dry", action="store_true", help="check and forecast, and start nothing")


def main(asked: argparse.Namespace) -> int:
    """Train, alone or as one of several ranks, and give the exit code that says how it ended."""
    from surefoot.run.launched import place

    here = place()
    if asked.procs is not None and asked.procs != here.world:
        from surefoot.run.launcher import launched

        return launched(asked.procs, here, asked.line)
    if here.world == 1:
        return trained(asked, here)

    from surefoot.run.following import follow
    from surefoot.run.joined import joined

    with joined(here, asked.device or "auto") as ranks:
        return follow(ranks, asked) if here.rank else trained(asked, here, ranks)


def trained(asked: argparse.Namespace, here: "Place", ranks: "Ranks | None" = None) -> int:
    """Train as the first of all ranks, which alone writes and prints."""
    from surefoot.learn.ranks import Ranks
    from surefoot.run.asked import Asked
    from surefoot.run.launched import ended, leave, restarted
    from surefoot.run.session import session
    from surefoot.show.printed import document
    from surefoot.show.terminal import Terminal

    run = Path(asked.run) if asked.run else None
    if (begun := restarted(here, asked.resume, run)) is not None:
        if (code := ended(begun)) is not None:
            return leave(code)
        run = run if asked.resume else begun
    changes = list(asked.changes)
    if asked.total_steps is not None:
        changes.append(f"train.steps={asked.total_steps}")
    if asked.device is not None:
        changes.append(f"train.device={asked.device}")
    wanted = Asked(
        what=asked.what[0] if asked.what else "starter",
        named=bool(asked.what),
        changes=tuple(changes),
        run=run,
        resume=asked.resume,
        start=asked.start,
        resume_lr=asked.resume_lr,
        fresh=tuple(asked.fresh_optimizer),
        init_from=asked.init_from,
        accept=tuple(asked.accept),
        pin=asked.pin,
        drill=asked.drill,
        dry=asked.dry,
        timed=True,
        place=here,
        ranks=ranks or Ranks(),
    )
    terminal = Terminal(plain=asked.plain, quiet=asked.quiet, stream=sys.stderr)
    done = session(wanted, terminal, asked)
    if asked.json:
        print(document(**done.status))
    return leave(done.exit)
