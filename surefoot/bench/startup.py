"""Times what a person waits for: --help, list, the import, and the first step of `starter`.

Goals in seconds: under .3, .3, .1, and 8 with a warm cache; a ratio is what is allowed over what it
took, so that 1 is just in time. Each run is a process of its own, in turns with a bare
`python -c pass` (for the first step: with `import torch`), which shows the machine's mood.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from surefoot.errors import Problem, RunError
from surefoot.protocol import Paired, environment, interval, paired, verdict

PYTHON = [sys.executable, "-c"]
MAIN = [sys.executable, "-m", "surefoot"]
CASES: dict[str, tuple[float, list[str], list[str]]] = {
    "surefoot --help": (0.3, [*MAIN, "--help"], [*PYTHON, "pass"]),
    "surefoot list": (0.3, [*MAIN, "list"], [*PYTHON, "pass"]),
    "import surefoot": (0.1, [*PYTHON, "import surefoot"], [*PYTHON, "pass"]),
}
FIRST = "first step of starter"
FIRST_GOAL = 8.0


def options(parser: argparse._ArgumentGroup) -> None:
    """Take what this bench adds."""
    parser.add_argument("--no-first", action="store_true", help="leave out the first step")


def run(quick: bool = False, repeat: int = 1, **own: Any) -> dict[str, Any]:
    """Measure and give the rows; a is seconds, b those that are allowed."""
    warmup, pairs = (1, 3) if quick else (3, 9 * repeat)
    told: dict[str, tuple[float, Paired]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for case, (goal, command, bare) in CASES.items():
            ours, theirs = process(command, Path(folder)), process(bare, Path(folder))
            told[case] = goal, paired(ours, theirs, warmup, pairs)
        if not own.get("no_first", False):
            ours, theirs = (
                first_step(Path(folder)),
                process([*PYTHON, "import torch"], Path(folder)),
            )
            told[FIRST] = FIRST_GOAL, paired(ours, theirs, 1, 1 if quick else 5 * repeat)
    return {
        "name": "startup",
        "quick": quick,
        "settings": environment(),
        "rows": [row(case, goal, timed) for case, (goal, timed) in told.items()],
        "samples": {case: timed.raw() for case, (_, timed) in told.items()},
    }


def row(case: str, most: float, told: Paired) -> dict[str, Any]:
    """Judge by seconds: a is ours, b what is allowed, so that a ratio of 1 is just in time."""
    seconds = np.array([sample.wall for sample in told.a])
    lo, hi = interval(most / seconds)
    return {
        **told.row(case),
        "b": most,
        "ratio": float(np.median(most / seconds)),
        "lo": lo,
        "hi": hi,
        "goal": 1.0,
        "verdict": verdict(lo, hi, 1.0),
        "bare_s": float(np.median([sample.wall for sample in told.b])),
    }


def process(command: list[str], folder: Path) -> Callable[[], None]:
    """Give a call that runs a command in a process of its own."""

    def call() -> None:
        ended = subprocess.run(command, cwd=folder, capture_output=True, check=False)
        if ended.returncode:
            raise failed(command, ended.stderr)

    return call


def first_step(folder: Path) -> Callable[[], None]:
    """Give a call that trains `starter` until its first step is in the journal."""
    count = iter(range(10**6))

    def call() -> None:
        home = folder / f"run{next(count)}"
        command = [*MAIN, "train", "starter", "--run", str(home), "--quiet"]
        running = subprocess.Popen(
            command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        assert running.stderr is not None, "stderr was asked for"
        try:
            journal = home / "journal.jsonl"
            while not (journal.is_file() and stepped(journal)):
                if running.poll() is not None:
                    raise failed(command, running.stderr.read())
                time.sleep(0.005)
        finally:
            running.kill()
            running.wait()
            running.stderr.close()

    return call


def stepped(journal: Path) -> bool:
    """Say whether a journal tells of a step."""
    lines = journal.read_bytes().splitlines(keepends=True)
    return any(line.endswith(b"\n") and json.loads(line)["kind"] == "step" for line in lines)


def failed(command: list[str], stderr: bytes) -> RunError:
    """Say that what should be timed does not run."""
    said = stderr.decode(errors="replace").strip().splitlines()
    why = f"it failed ({said[-1] if said else 'without a word'})"
    return RunError(Problem(" ".join(command[1:]), "", why, "Make it run first"), exit=1)
