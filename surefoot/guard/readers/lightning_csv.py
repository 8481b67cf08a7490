"""Reads the metrics.csv that Lightning's CSVLogger writes: sparse rows, joined by step."""

from collections.abc import Iterator
from pathlib import Path

from surefoot.guard.columns import header_of, is_header, row_of
from surefoot.guard.rows import Reading, Told, merged
from surefoot.guard.text import lines


def claims(head: str, path: Path) -> float:
    """Ask whether the first line has step and epoch, and names as Lightning makes them."""
    cells = head.split("\n", 1)[0].strip().split(",")
    if not {"step", "epoch"} <= set(cells):
        return 0.0
    made = any(cell.endswith(("_step", "_epoch")) or cell.startswith("lr-") for cell in cells)
    return 0.9 if made or path.name == "metrics.csv" else 0.5


def read(path: Path, reading: Reading) -> Iterator[Told]:
    """Stream its rows, those of one step joined."""
    return merged(rows(path, reading))


def rows(path: Path, reading: Reading) -> Iterator[Told]:
    """Stream rows as they stand; most cells are empty."""
    found: list[str] = []
    for line in lines(path, reading):
        cells = line.text.split(",")
        if "step" in cells:
            if found:
                reading.leave("header repeated")
            found = header_of(names(cells, reading), reading, path.name)
        elif not line.ended:
            reading.leave("last line may be cut")
        elif not is_header(found):
            reading.leave("before the header")
        elif told(found, cells) and (row := row_of(found, cells, line, reading)) is not None:
            yield row


def told(found: list[str], cells: list[str]) -> bool:
    """Say whether a row holds a number that counts: many hold an epoch's mean alone."""
    pairs = zip(found, cells, strict=False)
    return any(cell for name, cell in pairs if name not in ("", "step"))


def names(cells: list[str], reading: Reading) -> list[str]:
    """Take the endings off: what was logged by step counts, its mean over an epoch doesn't."""
    told: list[str] = []
    for cell in cells:
        stem, _, ending = cell.rpartition("_")
        if cell in reading.columns or ending not in ("step", "epoch") or not stem:
            told.append(cell)
        elif ending == "epoch" and f"{stem}_step" in cells:
            told.append("")
        else:
            told.append(stem)
    return told
