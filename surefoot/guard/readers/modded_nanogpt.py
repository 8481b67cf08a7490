"""Reads the logs of modded-nanogpt; the source that stands in front of the steps is skipped."""

import re
from collections.abc import Iterator
from pathlib import Path

from surefoot.guard.columns import number_of
from surefoot.guard.rows import Reading, Row, Told, merged
from surefoot.guard.text import lines

STEP = re.compile(r"^step:(\d{1,15})/\d+ (.*)")
PAIR = re.compile(r"\b(\w++):(\S++)")
NAMES = {
    "train_loss": "loss",
    "loss": "loss",
    "val_loss": "val_ce",
    "step_avg": "step_s",
    "lr": "lr",
    "grad_norm": "grad_norm",
}
TAIL = 4096


def claims(head: str, path: Path) -> float:
    """Ask whether its lines stand there; before them a log holds the whole program."""
    if any(STEP.match(text) for text in head.splitlines()):
        return 0.9
    return 0.85 if any(STEP.match(text) for text in tail(path).splitlines()[1:]) else 0.0


def tail(path: Path) -> str:
    """Read a file's last lines."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL))
        return file.read(TAIL).decode("utf-8", errors="replace")


def read(path: Path, reading: Reading) -> Iterator[Told]:
    """Stream its rows; those that tell only of time are no rows."""
    return merged(rows(path, reading))


def rows(path: Path, reading: Reading) -> Iterator[Told]:
    """Stream the lines of steps and validations."""
    for line in lines(path, reading):
        found = STEP.match(line.text)
        if found is None:
            continue
        if not line.ended:
            reading.leave("last line may be cut")
            continue
        values: dict[str, float] = {}
        for called, text in PAIR.findall(found[2]):
            name = NAMES.get(called, "")
            value = number_of(text, name) if name else None
            if value is not None and (value == value or name == "loss"):
                reading.take(name, called)
                values[name] = value
        if values.keys() - {"step_s"}:
            yield Row(int(found[1]), values, line=line.number)
