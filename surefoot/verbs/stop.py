"""Asks a run that is training to save and stop after its step."""

import argparse

from surefoot.errors import Problem, RunError

TAKES = "RUN"
EXAMPLES = """
surefoot stop last
surefoot stop starter-001 --reason "the disk is needed"
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Take the reason."""
    parser.add_argument("--reason", metavar="TEXT", default="", help="kept in status and report")


def main(asked: argparse.Namespace) -> int:
    """Leave the file that the run looks for after each step."""
    from surefoot.run.folder import find_run, read_status, state_of
    from surefoot.shelf.disk import Disk
    from surefoot.shelf.lock import holder
    from surefoot.show.printed import document, printable

    folder = find_run(asked.what[0])
    status, state, by = read_status(folder), state_of(folder), holder(folder)
    step = status.get("step", 0)
    if by is None:
        raise RunError(nothing(folder.name, str(folder), state, step))
    reason = " ".join(asked.reason.split())
    try:
        Disk().write_atomic(folder / "stop", f"{reason}\n".encode())
    except OSError as error:
        why = f"the file `stop` can't be written there ({error.strerror or error})"
        instead = f"Write kill -TERM {by.pid}, which saves and stops too"
        raise RunError(Problem(str(folder), "", why, instead)) from None
    if asked.json:
        print(document(run=str(folder), step=step, pid=by.pid, reason=reason))
    else:
        resume = f"surefoot train --resume {folder}"
        print(
            printable(f"{folder} will save and stop after its step (now {step}); go on: {resume}")
        )
    return 0


def nothing(name: str, folder: str, state: str, step: int) -> Problem:
    """Say that nobody is training there."""
    if state == "died":
        why = f"nobody is training there: its process died after step {step}"
    elif state == "unknown":
        why = "nobody is training there"
    else:
        why = f"nobody is training there: it is {state}, at step {step}"
    resume = f"Go on with it by  surefoot train --resume {folder}"
    return Problem(name, "", why, "There is nothing to stop" if state == "finished" else resume)
