"""Checks a plan and forecasts what it costs, without starting anything."""

import argparse
import sys

TAKES = "RECIPE [key=VALUE ...]"
EXAMPLES = """
surefoot preflight starter
surefoot preflight starter train.batch=64 --no-time
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Take what is accepted and whether steps are timed."""
    add = parser.add_argument
    add("--accept", action="append", default=[], metavar="ID", help="accept a refusal by its name")
    add("--no-time", action="store_true", help="forecast by arithmetic alone")
    add("--device", help="auto, cpu or cuda")
    add("--resume", metavar="RUN", help="judge going on with a run")


def main(asked: argparse.Namespace) -> int:
    """Judge, print, and give 3 where something is refused."""
    from surefoot.run.session import Asked, session
    from surefoot.show.printed import document
    from surefoot.show.terminal import Terminal

    changes = [*asked.changes, *([f"train.device={asked.device}"] if asked.device else [])]
    wanted = Asked(
        what=asked.what[0],
        named=True,
        changes=tuple(changes),
        resume=asked.resume,
        accept=tuple(asked.accept),
        dry=True,
        timed=not asked.no_time,
    )
    ended = session(wanted, Terminal(plain=True, quiet=asked.json, stream=sys.stderr), asked)
    if asked.json:
        print(document(**ended.status))
    return ended.exit
