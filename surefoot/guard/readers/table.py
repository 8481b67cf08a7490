"""Reads tables that people wrote: Markdown's pipes, and columns of fixed width."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from surefoot.guard.columns import field_of, header_of, is_header, number_of, row_of
from surefoot.guard.rows import Fact, Reading, Row, Told
from surefoot.guard.text import Line, lines

HEADING = re.compile(r"#{1,6}\s++(\S.*)")
RULER = re.compile(r"[\s|:=+\-─]+")
WORD = re.compile(r"\S++(?: \S++)*+")  # names of columns stand two blanks apart ...
BARE = re.compile(r"\S+")  # ... or one, where that is all there is
SAID = re.compile(r"[\s*\-]*+(?P<what>[A-Za-z][A-Za-z ]++)[\s*]*+:[\s*]*+(?P<rest>.*)")
DURATION = re.compile(
    r"(?<![\d.,])(?P<number>[\d.,]++)\s*+(?P<unit>s|sec|min|h|hours?|minutes?|seconds?)\b"
)
SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def claims(head: str, path: Path) -> float:
    """Ask whether some line heads a table of steps."""
    reading = Reading()
    for text in head.splitlines():
        cuts = cuts_of(text) if "step" in text.lower() or "iter" in text.lower() else []
        if any(titled([cell for _, cell in cut], reading) for cut in cuts):
            return 0.55 if path.suffix.lower() == ".md" else 0.5
    return 0.0


def read(path: Path, reading: Reading) -> Iterator[Told]:
    """Stream the rows of all tables, each with the title above it, and what is said below."""
    table, title, seen = Table(), "", Counter[str]()
    for line in lines(path, reading):
        text = line.text
        if text.lstrip().startswith("```"):
            table = Table(fenced=not table.fenced)
        elif not table.fenced and (found := HEADING.match(text)):
            table, title = Table(), found[1].rstrip().rstrip("#").rstrip()
        elif table.heads(line, reading):
            if not table.rows:
                seen[title] += 1
        elif table.found and text.strip():
            row = table.row(line, reading)
            if row is not None:
                yield replace(row, run=title if seen[title] < 2 else f"{title} ({seen[title]})")
        elif table.found and not table.fenced:
            table = Table()
        if not table.found and (fact := fact_of(text)) is not None:
            yield replace(fact, run=title if seen[title] < 2 else f"{title} ({seen[title]})")


class Table:
    """One table, from its header on."""

    def __init__(self, fenced: bool = False) -> None:
        self.fenced = fenced
        self.found: list[str] = []  # the field of each column
        self.starts: list[int] = []  # where each begins; none where pipes part them
        self.words = False  # the last column is free text
        self.rows = 0

    def heads(self, line: Line, reading: Reading) -> bool:
        """Take a line as the header, if it is one."""
        piped = "|" in line.text
        for cut in cuts_of(line.text):
            cells = [cell for _, cell in cut]
            if not titled(cells, reading):
                continue
            if self.rows:
                reading.leave("header repeated")
            self.found = header_of(cells, reading)
            self.words = not self.found[-1]
            self.starts = [] if piped else [start for start, _ in cut]
            return True
        return False

    def row(self, line: Line, reading: Reading) -> Row | None:
        """Take a line as a row; a ruler is none, and is no loss."""
        if RULER.fullmatch(line.text):
            return None
        cells = self.cut(line.text) if self.starts else piped_cells(line.text)
        if len(cells) < len(self.found) and self.starts:
            cells += [""] * (len(self.found) - len(cells))
        row = row_of(self.found, cells, line, reading)
        if row is None:
            return None
        self.rows += 1
        return replace(row, note=cells[-1].strip()) if self.words else row

    def cut(self, text: str) -> list[str]:
        """Cut a row where the header's words begin; where that parts a word, at its blanks."""
        if any(" " not in text[at - 1 : at + 1] for at in self.starts if 0 < at < len(text)):
            return text.split(maxsplit=len(self.found) - 1)
        ends = [*self.starts[1:], len(text)]
        return [text[start:end] for start, end in zip([0, *self.starts[1:]], ends, strict=True)]


def cuts_of(text: str) -> list[list[tuple[int, str]]]:
    """Part a line in the ways that a header may be written, each cell with its place."""
    if "|" in text:
        return [[(0, cell) for cell in piped_cells(text)]]
    return [[(one.start(), one[0]) for one in part.finditer(text)] for part in (WORD, BARE)]


def titled(cells: list[str], reading: Reading) -> bool:
    """Say whether these are the names of columns: prose has the same words, but not so."""
    if len(cells) < 2 or any(number_of(cell) is not None for cell in cells):
        return False
    known = [field_of(cell, reading) for cell in cells]
    return is_header(known) and "step" in known[:2] and 2 * sum(map(bool, known)) >= len(cells)


def piped_cells(text: str) -> list[str]:
    """Part a line at its pipes."""
    return [cell.strip() for cell in text.strip().strip("|").split("|")]


def fact_of(text: str) -> Fact | None:
    """Read what a line below a table says of the whole run."""
    found = SAID.match(text)
    if found is None:
        return None
    what, rest = found["what"].lower(), found["rest"]
    if what.startswith(("total training time", "training time")):
        took = DURATION.search(rest)
        value = number_of(took["number"]) if took else None
        return Fact("duration_s", value * SECONDS[took["unit"][0]]) if took and value else None
    name = {"total steps": "steps", "throughput": "tok_per_s"}.get(" ".join(what.split()[:2]), "")
    name = name or {"throughput": "tok_per_s"}.get(what.split()[0], "")
    first = re.match(r"[~≈]?\s*+([\d.,]*\d)", rest)
    value = number_of(first[1]) if name and first else None
    return Fact(name, value) if value else None
