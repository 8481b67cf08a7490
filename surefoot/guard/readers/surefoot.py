"""Reads surefoot's own journal, or the run folder that holds it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from surefoot.guard.rows import Reading
from surefoot.guard.text import lines
from surefoot.records import KINDS, Eval, Event, Record, Remedy, Step, parse

LARGEST = 1 << 53  # of whole numbers: a float holds them exactly


def claims(head: str, path: Path) -> float:  # noqa: ARG001
    """Ask whether the first line is one of a journal."""
    raw = object_of(head.split("\n", 1)[0])
    return 1.0 if raw.get("v") == 1 and raw.get("kind") in KINDS else 0.0


def read(path: Path, reading: Reading) -> Iterator[Record]:
    """Stream what monitors look at; a damaged line is counted."""
    for line in lines(path, reading):
        if not line.text.strip():
            continue
        if not line.ended:
            reading.leave("last line is cut")
            continue
        try:
            record = parse(object_of(line.text))
        except (TypeError, ValueError):
            record = None
        if record is None:
            reading.leave("no record of this version")
        elif not sound(record):
            reading.leave("numbers that are none")
        elif isinstance(record, Step | Eval | Event | Remedy):
            noted(record, reading)
            yield record


def sound(record: Record) -> bool:
    """Say whether the fields that everything rests on are numbers."""
    steps: list[Any] = [record.step, record.generation]
    told: list[Any] = []
    if isinstance(record, Step):
        lr: Any = record.lr
        told = [record.loss, record.ce, record.grad_norm, record.entropy or 0.0]
        told += list(cast("dict[str, Any]", lr).values()) if isinstance(lr, dict) else [None]
    if isinstance(record, Eval):
        told = [record.val_ce]
    whole = all(type(step) is int and 0 <= step < LARGEST for step in steps)
    return whole and all(
        type(one) is float or (type(one) is int and abs(one) < LARGEST) for one in told
    )


def noted(record: Record, reading: Reading) -> None:
    """Say which fields there are."""
    if isinstance(record, Eval):
        reading.take("val_ce", "val_ce")
    if isinstance(record, Step) and "tok_per_s" not in reading.fields:
        for name in ("loss", "ce", "entropy", "lr", "grad_norm", "tok_per_s", "step_s"):
            if getattr(record, name) is not None:
                reading.take(name, name)


def object_of(text: str) -> dict[str, Any]:
    """Read a line's object; {} for any other line."""
    try:
        raw: Any = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", raw) if isinstance(raw, dict) else {}
