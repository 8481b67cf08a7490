"""Text files: a path, a folder, or patterns; a document is a file, or what blank lines part."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from surefoot.data.documents import Document, Skipped, cut
from surefoot.data.reading import decoded, matching, shown, unreadable
from surefoot.errors import DataError, Problem
from surefoot.recipe.choice import Choice

LARGEST = 4 << 30  # bytes
BLANK = re.compile(r"(?:\r?\n[ \t]*){2,}")


class Options(Choice):
    """Which files, and how they become documents."""

    kind: str = "text"
    path: Annotated[str, Field(min_length=1)] | Annotated[list[str], Field(min_length=1)]
    """A file, a folder, or patterns like texts/**/*.txt"""
    encoding: str = "utf-8"
    """How the files are encoded"""
    split: Literal["file", "blank_line", "none"] = "file"
    """What a document is: a file, a paragraph, or all files joined into one"""
    val_tail: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the end of each text kept for validation, by characters; instead of val.share"""


def files(options: Options, where: Path) -> list[Path]:
    """List the files, sorted; each is read whole, so none may fill the memory."""
    found = matching(options.path, where)
    for path in found:
        if path.stat().st_size > LARGEST:
            why = f"it is larger than {LARGEST >> 30} GiB, and a text is read whole"
            instead = 'Cut it into files, or write a line a document and data.corpus.kind="jsonl"'
            raise DataError(Problem(shown(path, where), "", why, instead))
    return found


def documents(options: Options, where: Path) -> Iterator[Document | Skipped]:
    """Give the files' documents."""
    if options.split == "none":
        yield from joined(options, where)
        return
    single = len(files(options, where)) == 1
    for found in whole(options, where):
        if isinstance(found, Skipped):
            yield found
            continue
        for piece in cut(found, options.val_tail) if options.val_tail else [found]:
            yield from parted(piece, options.split, single)


def whole(options: Options, where: Path) -> Iterator[Document | Skipped]:
    """Give each file's text."""
    for path in files(options, where):
        name = shown(path, where)
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise unreadable(name, error) from None
        text = decoded(raw, options.encoding, name)
        if isinstance(text, Problem):
            yield Skipped("not " + options.encoding.upper(), text)
        elif not text:
            yield Skipped("empty")
        else:
            yield Document(text, name)


def joined(options: Options, where: Path) -> Iterator[Document | Skipped]:
    """Give all files as one document."""
    texts: list[str] = []
    for found in whole(options, where):
        if isinstance(found, Skipped):
            yield found
        else:
            texts.append(found.text)
    if texts:
        one = Document("".join(texts), "all files")
        yield from cut(one, options.val_tail) if options.val_tail else [one]


def parted(document: Document, split: str, single: bool) -> Iterator[Document]:
    """Give a text, or its paragraphs."""
    if split == "blank_line":
        for number, text in enumerate(BLANK.split(document.text), 1):
            if text.strip():
                yield Document(text, f"{document.name} #{number}", part=document.part)
    elif document.text:
        # of several cut files the end of each is an end; of a single one nothing ever follows
        ends = not single if document.part == "val" else document.ends
        yield Document(document.text, document.name, part=document.part, ends=ends)
