"""Reads TensorBoard's event files; needs the extra of that name."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from surefoot.errors import DataError, Problem
from surefoot.guard.columns import field_of
from surefoot.guard.rows import Reading, Row, Told, merged

BINARY = True  # never tried on a text


def claims(head: str, path: Path) -> float:  # noqa: ARG001
    """Ask for the name: the content is binary."""
    return 1.0 if "tfevents" in path.name else 0.0


def read(path: Path, reading: Reading) -> Iterator[Told]:
    """Stream its scalars, those of one step joined."""
    return merged(rows(path, reading))


def rows(path: Path, reading: Reading) -> Iterator[Told]:
    """Stream a row a scalar."""
    for number, event in enumerate(events(path, reading), 1):
        for value in event.summary.value:
            name = field_of(value.tag, reading)
            if not name or name == "step":
                continue
            scalar = scalar_of(value)
            if scalar is None:
                reading.leave("no scalar")
                continue
            reading.take(name, value.tag)
            yield Row(int(event.step), {name: scalar}, line=number)


def events(path: Path, reading: Reading) -> Iterator[Any]:
    """Stream the events as the library reads them."""
    name = "tensorboard.backend.event_processing.event_file_loader"
    try:
        loader: Any = importlib.import_module(name).LegacyEventFileLoader(str(path))
        damaged: Any = importlib.import_module("google.protobuf.message").DecodeError
    except ImportError:
        raise DataError(missing(path)) from None
    try:
        yield from loader.Load()
    except damaged:
        reading.leave("all that follows a damaged event")


def scalar_of(value: Any) -> float | None:
    """Take a number out of either form that a scalar is written in."""
    if value.HasField("simple_value"):
        return float(value.simple_value)
    tensor = value.tensor if value.HasField("tensor") else None
    return float(tensor.float_val[0]) if tensor is not None and len(tensor.float_val) else None


def missing(path: Path) -> Problem:
    """Say what is needed."""
    why = "event files are read with tensorboard, which is not installed"
    return Problem(path.name, "", why, 'Write pip install "surefoot[tensorboard]"')
