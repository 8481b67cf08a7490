"""Starts several ranks on this machine with torch's own launcher, and tells how their run ended."""

import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from surefoot.errors import Problem, UsageError
from surefoot.run.launched import CODE, RESTARTS, Place

AGAIN = 3  # times that all ranks are started again after one of them died
SHUTDOWN_S = "120"  # for the last save, before torch's launcher kills
SIGNALS = "SIGTERM,SIGINT,SIGHUP,SIGUSR1"  # USR1 would kill the launcher, and no rank hear of it


def launched(procs: int, here: Place, line: Sequence[str]) -> int:
    """Train with so many ranks; gives the first rank's exit code."""
    if procs < 1:
        why = "a run has at least one rank"
        raise UsageError(Problem("--procs", str(procs), why, "Write --procs 1"))
    if here.world > 1:
        why = f"torchrun has started {here.world} ranks already"
        raise UsageError(Problem("--procs", str(procs), why, "Leave --procs out"))
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # until the run sets its own number
    with tempfile.TemporaryDirectory(prefix="surefoot-") as folder:
        code = Path(folder) / "exit"
        os.environ[CODE] = str(code)
        for attempt in range(1 + AGAIN):
            os.environ[RESTARTS] = str(attempt)
            found, why = once(procs, words(line), code)
            if found is not None:
                return found
            if attempt < AGAIN:
                sys.stderr.write(f"{why}; starting all ranks again from the last save\n")
    return 1


def words(line: Sequence[str]) -> list[str]:
    """Give a command line without --procs."""
    kept: list[str] = []
    rest = iter(line)
    for word in rest:
        if word == "--procs":
            next(rest, None)
        elif not word.startswith("--procs="):
            kept.append(word)
    return kept


def once(procs: int, line: Sequence[str], code: Path) -> tuple[int | None, str]:
    """Start all ranks and wait for them: the run's exit code, or None and why it did not end."""
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import get_args_parser, run

    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)  # its tables tell less
    own = ["--nproc-per-node", str(procs), "--signals-to-handle", SIGNALS]
    own += ["--shutdown-timeout", SHUTDOWN_S, "--max-restarts", "0", "-m"]
    own += ["--", "surefoot"]  # else torch takes --run for a beginning of its own --run-path
    why = ""
    try:
        run(get_args_parser().parse_args([*own, *line]))
    except SignalException as caught:
        return told(code, 128 + int(caught.sigval)), ""
    except ChildFailedError as failed:
        first: Any = failed.failures.get(0)
        if first is not None and first.exitcode > 1:  # refused: it would be refused again
            return int(first.exitcode), ""
        rank, one = failed.get_first_failure()
        ended = f"signal {-one.exitcode}" if one.exitcode < 0 else f"exit {one.exitcode}"
        return told(code, None), f"rank {rank} ended ({ended})"
    return told(code, 0), why


def told(code: Path, otherwise: int | None) -> int | None:
    """Read the exit code that the first rank has left, if it came to an end."""
    return int(code.read_text()) if code.is_file() else otherwise
