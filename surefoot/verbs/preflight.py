"""Checks a plan and forecasts what it costs, without starting anything."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any

TAKES = "RECIPE [key=VALUE ...]"
EXAMPLES = """
surefoot preflight starter train.batch=64 --no-time
surefoot preflight windowed --device cuda --all
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Take what is accepted and whether steps are timed."""
    add = parser.add_argument
    add("--accept", action="append", default=[], metavar="ID", help="accept a refusal by its name")
    add("--no-time", action="store_true", help="forecast by arithmetic alone")
    add("--device", help="auto, cpu or cuda; also one that this machine hasn't got")
    add("--resume", metavar="RUN", help="judge going on with a run")
    add("--all", action="store_true", help="show the rules that are content, too")
    add("--pin", metavar="SHA", help="hash of the recipe that this must be")
    add("--print-pin", action="store_true", help="print the hash that --pin takes, on stdout")


def main(asked: argparse.Namespace) -> int:
    """Judge, print, and give 3 where something is refused."""
    from surefoot.run.asked import Asked
    from surefoot.run.session import session
    from surefoot.show.printed import document
    from surefoot.show.terminal import Terminal

    changes = [*asked.changes, *([f"train.device={asked.device}"] if asked.device else [])]
    wanted = Asked(
        what=asked.what[0],
        named=True,
        changes=tuple(changes),
        resume=asked.resume,
        accept=tuple(asked.accept),
        pin=asked.pin,
        dry=True,
        timed=not asked.no_time,
    )
    ended = session(wanted, Terminal(plain=True, quiet=asked.json, stream=sys.stderr), asked)
    if asked.all:
        content(ended.status["findings"])
    if asked.print_pin:
        print(ended.status["pin"])
    elif asked.json:
        print(document(**ended.status))
    return ended.exit


def content(findings: Sequence[Mapping[str, Any]]) -> None:
    """Name the rules that found nothing, on stderr as the others."""
    from surefoot.guard import book

    named = {finding["id"] for finding in findings}
    for entry in book.entries().values():
        if entry.id not in named:
            print(f"  fine   {entry.id}  {entry.sentence}", file=sys.stderr)
