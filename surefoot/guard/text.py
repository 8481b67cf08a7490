"""Streams a text file's lines, whatever wrote it: no line, and no file, is too long for it."""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from surefoot.errors import DataError, Problem
from surefoot.guard.rows import Reading

HEAD = 64 << 10
LONG_HEAD = 4 << 20  # where nothing is found in the short one
PIECE = 1 << 18
LINE_LIMIT = 1 << 20
HOPELESS = 256 << 20  # bytes without a line's end: whatever follows is no log
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
BOMS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}


@dataclass(frozen=True, slots=True)
class Line:
    """A line, its number, and whether anything stood after it."""

    number: int
    text: str
    ended: bool = True


def head_of(path: Path, size: int = HEAD) -> str:
    """Read a file's beginning, colours taken out; NUL bytes in it say that it is no text."""
    if path.exists() and not path.is_file():
        why = "it is no file: a pipe or a device can't be read twice"
        raise DataError(Problem(str(path), "", why, "Save it to a file first"))
    try:
        with path.open("rb") as file:
            raw = file.read(size)
    except OSError as error:
        why = error.strerror or str(error)
        raise DataError(Problem(str(path), "", f"it can't be read ({why})", "Name a log")) from None
    return ESCAPE.sub("", raw.removeprefix(bom(raw)).decode(encoding(raw), errors="replace"))


def bom(raw: bytes) -> bytes:
    """Give the mark that some editors and shells put in front of a text."""
    return next((mark for mark in BOMS if raw.startswith(mark)), b"")


def encoding(raw: bytes) -> str:
    """Say how a text is written down."""
    return BOMS.get(bom(raw), "utf-8")


def pieces(path: Path, reading: Reading) -> Iterator[str]:
    """Stream a file's text in pieces of bounded size."""
    with path.open("rb") as file:
        first = file.read(4)
        decode = codecs.getincrementaldecoder(encoding(first))(errors="replace").decode
        file.seek(len(bom(first)))
        for raw in limited(file, reading):
            yield decode(raw)
        yield decode(b"", True)


def limited(file: BinaryIO, reading: Reading) -> Iterator[bytes]:
    """Read on until the end, or to the most that was asked for."""
    left = reading.most_bytes or float("inf")
    while raw := file.read(int(min(PIECE, left))):
        yield raw
        left -= len(raw)
        if left <= 0 and file.read(1):
            reading.say(f"read the first {reading.most_bytes} bytes (--max-bytes)")
            return


def lines(path: Path, reading: Reading) -> Iterator[Line]:
    """Stream a file's lines, colours taken out; a carriage return ends one, as on a terminal."""
    number, held, dropping, dropped = 0, "", False, 0
    for piece in pieces(path, reading):
        if dropping and "\n" not in piece and "\r" not in piece:
            dropped += len(piece)
            if dropped > HOPELESS:
                reading.leave(f"longer than {HOPELESS >> 20} MiB, and all that follows")
                return
            continue
        parts = re.split(r"\r\n|\n|\r(?!$)", held + piece)
        held = parts.pop()
        for part in parts:
            number += 1
            if dropping:
                dropping = False
                continue
            yield Line(number, ESCAPE.sub("", part))
        if len(held) > LINE_LIMIT:
            if not dropping:
                reading.leave(f"longer than {LINE_LIMIT >> 20} MiB")
            held, dropping, dropped = "", True, 0
    if held.rstrip("\r") and not dropping:
        yield Line(number + 1, ESCAPE.sub("", held.rstrip("\r")), ended=held.endswith("\r"))
