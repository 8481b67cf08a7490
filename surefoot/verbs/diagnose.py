"""Diagnoses training logs that other systems wrote: what went wrong, where, and what to do."""

import argparse
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from surefoot.errors import Problem, UsageError

if TYPE_CHECKING:
    from surefoot.guard.diagnose import Diagnosis, Told
    from surefoot.guard.series import Asked

TAKES = "PATH ..."
EXAMPLES = """
surefoot diagnose trainer_state.json
surefoot diagnose report.md --label-smoothing 0.1 --vocab 4096 --fail-on act
"""
TIMES = {"k": 1e3, "M": 1e6, "B": 1e9}


def options(parser: argparse.ArgumentParser) -> None:
    """Take what a log doesn't say of itself."""
    add = parser.add_argument
    add("--map", action="append", default=[], metavar="NAME=FIELD", help="what a column is")
    add("--vocab", type=counted, metavar="N", help="tokens of the vocabulary")
    add("--label-smoothing", type=shared, metavar="SHARE", help="share that the loss spreads")
    add("--batch", type=counted, metavar="N", help="sequences a step, over all devices")
    add("--seq-len", type=counted, metavar="N", help="tokens a sequence")
    add("--params", type=counted, metavar="N", help="parameters, as 275M")
    add("--resumed-from", metavar="PATH", help="the log before, or loss=X,lr=Y")
    add("--fail-on", choices=("warn", "act"), help="exit 3 if something so serious is found")
    add("--max-bytes", type=counted, default=0, metavar="N", help="read no more of a file")


def counted(text: str) -> int:
    """Read a count: 4096, 275M."""
    number, times = (text[:-1], TIMES[text[-1]]) if text[-1:] in TIMES else (text, 1)
    try:
        value = float(number.replace(",", "").replace("_", "")) * times
        if value >= 1 and value == int(value):
            return int(value)
    except (ValueError, OverflowError):
        value = 0.0
    raise argparse.ArgumentTypeError(f"{text} is no count; write a whole number, such as 4096")


def shared(text: str) -> float:
    """Read a share."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if 0 <= value < 1:
        return value
    raise argparse.ArgumentTypeError(f"{text} is no share; write a number from 0 to below 1")


def main(asked: argparse.Namespace) -> int:
    """Read, judge, print; 3 where --fail-on says so, 2 where a file can't be read."""
    from surefoot.guard.diagnose import ORDER, diagnose
    from surefoot.guard.rows import columns_of
    from surefoot.show.printed import document

    columns = columns_of(asked.map)
    found = diagnose([Path(word) for word in asked.what], told(asked), columns, asked.max_bytes)
    if asked.json:
        print(document(**document_of(found)))
    else:
        show(found)
    for problem in found.unreadable:
        print(f"error  {safe(str(problem))}", file=sys.stderr)
    if found.unreadable:
        return 2
    return 3 if asked.fail_on and found.worst() >= ORDER.index(asked.fail_on) else 0


def told(asked: argparse.Namespace) -> "Asked":
    """Gather what the options say of the log."""
    from dataclasses import replace

    from surefoot.guard.diagnose import before_of
    from surefoot.guard.series import Asked

    said = Asked(
        vocab=asked.vocab,
        label_smoothing=asked.label_smoothing,
        batch=asked.batch,
        seq_len=asked.seq_len,
        params=asked.params,
    )
    if asked.vocab is not None and asked.vocab < 2:
        raise UsageError(
            Problem("--vocab", str(asked.vocab), "a vocabulary has tokens", "Write 4096")
        )
    if not asked.resumed_from:
        return said
    return replace(said, resumed_from=before_of(asked.resumed_from, said))


def safe(text: str) -> str:
    """Escape what a terminal would obey."""
    from surefoot.show.printed import printable

    return printable(text)


def show(found: "Diagnosis") -> None:
    """Print it for people."""
    from surefoot.show.diagnosed import end_lines, file_lines, found_lines, run_lines

    many = sum(len(told.runs) for told in found.files) > 1
    causes = [
        (run.series.title if many else "", run.cause)
        for told in found.files
        for run in told.runs
        if run.cause is not None
    ]
    for told in found.files:
        row = file_of(told)
        lines = file_lines(row)
        for run, shown in zip(told.runs, row["runs"], strict=True):
            lines += run_lines(shown, alone=len(told.runs) == 1)
            lines += [line for one in run.findings for line in found_lines(one)]
        put(lines)
    lines = ["together", *(line for one in found.together for line in found_lines(one))]
    if found.files:
        clean = "" if found.findings else "nothing was found"
        lines = lines if found.together else [line for line in [clean] if line]
        put([*lines, *end_lines(causes, found.unjudged)])


def put(lines: list[str]) -> None:
    """Print lines, cut to the terminal where there is one."""
    from surefoot.show.lines import fitted

    width = min(max(shutil.get_terminal_size().columns, 60), 120) if sys.stdout.isatty() else 0
    for line in lines:
        print("\n".join(fitted(line, width)) if width else line)


def file_of(told: "Told") -> dict[str, Any]:
    """Give a file as --json prints it."""
    from surefoot.guard.diagnose import row_of
    from surefoot.guard.series import spacing

    return {
        "path": str(told.path),
        "reader": told.reader,
        "fields": told.reading.fields,
        "missing": told.missing,
        "left_out": dict(told.reading.left),
        "said": list(told.reading.said),
        "runs": [
            {
                "title": run.series.title,
                "rows": run.series.count,
                "first_step": run.series.first_step,
                "last_step": run.series.last_step,
                "coarse": not run.fine,
                "spacing": spacing(run.series.losses),
                "findings": [row_of(one) for one in run.findings],
            }
            for run in told.runs
        ],
    }


def document_of(found: "Diagnosis") -> dict[str, Any]:
    """Give the whole as --json prints it."""
    from surefoot.guard.diagnose import row_of

    parts = ("what", "value", "why", "instead")
    return {
        "files": [file_of(told) for told in found.files],
        "together": [row_of(one) for one in found.together],
        "not_judged": found.unjudged,
        "unreadable": [{part: getattr(one, part) for part in parts} for one in found.unreadable],
    }
