"""Reads trainer_state.json of Hugging Face's Trainer: its log_history, entry by entry."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from surefoot.guard.columns import number_of, step_of
from surefoot.guard.rows import Reading, Row, Told, merged
from surefoot.guard.text import pieces

BEGIN = re.compile(r'"log_history"\s*:\s*\[')
NAMES = {
    "step": "step",
    "loss": "loss",
    "grad_norm": "grad_norm",
    "learning_rate": "lr",
    "eval_loss": "val_ce",
}
ENTRY_LIMIT = 1 << 20


def claims(head: str, path: Path) -> float:
    """Ask for the history, by content and then by name."""
    if BEGIN.search(head):
        return 0.95
    return 0.8 if path.name == "trainer_state.json" and head.lstrip().startswith("{") else 0.0


def read(path: Path, reading: Reading) -> Iterator[Told]:
    """Stream its rows; losses and validations of one step are joined."""
    return merged(rows(path, reading))


def rows(path: Path, reading: Reading) -> Iterator[Told]:
    """Stream the entries of the history."""
    names = {**NAMES, **reading.columns}
    for number, entry in enumerate(entries(path, reading), 1):
        values: dict[str, float] = {}
        for called, name in names.items():
            value = number_of(str(entry.get(called, "")), name)
            if value is not None and (value == value or name == "loss"):
                values[name] = value
                reading.take(name, called)
        step = step_of(values)
        if step is not None and values:
            yield Row(step, values, line=number)
        elif not any(key.startswith(("train_", "eval_")) for key in entry):
            reading.leave("no step" if step is None else "no number")


def entries(path: Path, reading: Reading) -> Iterator[dict[str, Any]]:
    """Take one entry after the other out of the text, so that no file is too large."""
    decoder, held, begun = json.JSONDecoder(), "", False
    for piece in pieces(path, reading):
        held += piece
        if not begun:
            found = BEGIN.search(held)
            begun, held = found is not None, held[found.end() if found else -64 :]
        while begun:
            held = held.lstrip(" \t\r\n,")
            if not held or held.startswith("]"):
                break
            try:
                entry, end = decoder.raw_decode(held)
            except (ValueError, RecursionError):
                break  # the rest of it is still to come
            held = held[end:]
            if isinstance(entry, dict):
                yield cast("dict[str, Any]", entry)
            else:
                reading.leave("no JSON object")
        if held.startswith("]"):
            return
        if len(held) > ENTRY_LIMIT:
            reading.leave("an entry of over 1 MiB, and all that follows")
            return
    reading.leave("last entry is cut" if begun else "no log_history")
