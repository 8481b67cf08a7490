"""Reads tables whose cells are parted by commas, semicolons or tabs."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from surefoot.guard.columns import fields_of, header_of, is_header, row_of
from surefoot.guard.rows import Reading, Told, merged
from surefoot.guard.text import Line, lines

SEPARATORS = (",", ";", "\t")
LOOK = 50  # lines before the header that may tell of something else
DECIMAL_COMMA = re.compile(r"-?\d++,(\d{1,2}|\d{4,})([eE]|$)|-?0,\d++")


def claims(head: str, path: Path) -> float:
    """Ask whether some early line names a step and a loss."""
    found = any(parted(text, Reading()) for text in head.splitlines()[:LOOK])
    return (0.65 if path.suffix.lower() in (".csv", ".tsv") else 0.6) if found else 0.0


def read(path: Path, reading: Reading) -> Iterator[Told]:
    """Stream its rows; a repeated header counts from there on."""
    return merged(rows(path, reading))


def rows(path: Path, reading: Reading) -> Iterator[Told]:
    """Stream rows as they stand."""
    found: list[str] = []
    separator, comma = ",", False
    for line in lines(path, reading):
        if not line.text.strip() or line.text.startswith("#"):
            continue
        if again := parted(line.text, reading):
            if found:
                reading.leave("header repeated")
            separator, cells = again
            found = header_of(cells, reading, path.name)
            continue
        if not found:
            reading.leave("before the header")
            continue
        if not line.ended:
            reading.leave("last line may be cut")
            continue
        cells = cells_of(line, separator, len(found))
        comma = comma or (separator != "," and any(map(DECIMAL_COMMA.fullmatch, cells)))
        if (row := row_of(found, cells, line, reading, comma)) is not None:
            yield row


def parted(text: str, reading: Reading) -> tuple[str, list[str]] | None:
    """Give the separator and the cells of a header, or nothing for any other line."""
    if text[:1].isdigit():
        return None
    for separator in SEPARATORS:
        cells = split(text, separator)
        if len(cells) > 1 and is_header(fields_of(cells, reading)):
            return separator, cells
    return None


def split(text: str, separator: str) -> list[str]:
    """Part a line; quotes hold together what they enclose."""
    if '"' not in text:
        return text.split(separator)
    try:
        return next(csv.reader([text], delimiter=separator, skipinitialspace=True))
    except (csv.Error, StopIteration):
        return text.split(separator)


def cells_of(line: Line, separator: str, count: int) -> list[str]:
    """Part a row as its header was, or by another sign where that gives as many cells."""
    cells = split(line.text, separator)
    if len(cells) == count:
        return cells
    for other in SEPARATORS:
        if len(found := split(line.text, other)) == count:
            return found
    return cells
