"""Reads what nanoGPT prints: iter lines, and the validations between them."""

import re
from collections.abc import Iterator
from pathlib import Path

from surefoot.guard.columns import number_of
from surefoot.guard.rows import Reading, Row, Told, merged
from surefoot.guard.text import lines

ITER = re.compile(r"\biter (\d{1,15}): loss ([^\s,]++), time ([\d.]++)ms")
VAL = re.compile(r"\bstep (\d{1,15}): train loss ([^\s,]++), val loss (\S++)")


def claims(head: str, path: Path) -> float:  # noqa: ARG001
    """Ask whether lines of its form stand there."""
    return 0.9 if ITER.search(head) or VAL.search(head) else 0.0


def read(path: Path, reading: Reading) -> Iterator[Told]:
    """Stream its rows; a validation is joined with the step that follows it."""
    return merged(rows(path, reading))


def rows(path: Path, reading: Reading) -> Iterator[Told]:
    """Stream the lines of both forms; everything else that it prints is no row."""
    for line in lines(path, reading):
        step, val = ITER.search(line.text), VAL.search(line.text)
        found = step or val
        if found is None:
            continue
        if not line.ended:
            reading.leave("last line may be cut")
            continue
        names = ("loss", "step_s") if step else ("", "val_ce")
        texts = (found[2], f"{found[3]}ms" if step else found[3])
        values: dict[str, float] = {}
        for name, text in zip(names, texts, strict=True):
            if name and (value := number_of(text, name)) is not None:
                reading.take(name, {"step_s": "time", "val_ce": "val loss"}.get(name, name))
                values[name] = value
        if values:
            yield Row(int(found[1]), values, line=line.number)
        else:
            reading.leave("no number")
