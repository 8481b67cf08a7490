"""Reads logs of one JSON object a line."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from surefoot.guard.columns import header_of, is_header, row_of
from surefoot.guard.rows import Reading, Told, merged
from surefoot.guard.text import lines

LOOK = 20


def claims(head: str, path: Path) -> float:
    """Ask whether an early line is an object."""
    found = any(object_of(text) for text in head.splitlines()[:LOOK])
    return (0.75 if path.suffix.lower() in (".jsonl", ".ndjson") else 0.7) if found else 0.0


def read(path: Path, reading: Reading) -> Iterator[Told]:
    """Stream its rows, those of one step joined."""
    return merged(rows(path, reading))


def rows(path: Path, reading: Reading) -> Iterator[Told]:
    """Stream rows as they stand; each line may have keys of its own."""
    known: dict[tuple[str, ...], list[str]] = {}
    for line in lines(path, reading):
        if not line.text.strip():
            continue
        raw = object_of(line.text)
        if raw is None:
            reading.leave("no JSON object" if line.ended else "last line is cut")
            continue
        cells = flat(raw)
        keys = tuple(cells)
        if keys not in known:
            if len(known) > 1000:  # keys that are data
                known.clear()
            known[keys] = header_of(keys, reading, path.name)
        if not is_header(known[keys]):
            reading.leave("no step with a loss or a gradient norm")
        elif (row := row_of(known[keys], list(cells.values()), line, reading)) is not None:
            yield row


def object_of(text: str) -> Mapping[str, Any] | None:
    """Read a line's object; None for any other line."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        raw: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return cast("Mapping[str, Any]", raw) if isinstance(raw, dict) else None


def flat(raw: Mapping[str, Any], front: str = "") -> dict[str, str]:
    """Write nested keys as one name: {"lr": {"head": 1}} is lr/head."""
    found: dict[str, str] = {}
    for key, value in raw.items():
        if isinstance(value, dict) and front.count("/") < 3:
            found |= flat(cast("Mapping[str, Any]", value), f"{front}{key}/")
        elif isinstance(value, int | float | str) and not isinstance(value, bool):
            found[f"{front}{key}"] = str(value)
        elif value is None:
            found[f"{front}{key}"] = ""
    return found
