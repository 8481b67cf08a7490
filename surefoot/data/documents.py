"""Documents, as corpora give them, and which of them are kept for validation."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from surefoot.errors import Problem

BINS = 10_000  # a document's place in the split is one of these, drawn from its content


@dataclass(frozen=True, slots=True)
class Document:
    """One text of a corpus."""

    text: str
    name: str  # where it came from, for messages
    prompt: str = ""  # read before the text, but not learnt
    part: Literal["", "train", "val"] = ""  # where the corpus itself has said which it is
    ends: bool = True  # False where it was cut: no end-of-text token follows


@dataclass(frozen=True, slots=True)
class Skipped:
    """A piece of a corpus that gives no document, and why."""

    why: str  # one of a few words, to be counted
    problem: Problem | None = None  # what is wrong, where it isn't just empty or double


@dataclass(frozen=True, slots=True)
class Split:
    """Which documents are for validation: those whose bin is below, or each one's tail."""

    below: int = 0
    tail: float = 0.0

    def parts(self, document: Document) -> Iterator[tuple[bool, Document]]:
        """Give a document, or the pieces it is cut into, each with whether it is for validation."""
        if document.part:
            yield document.part == "val", document
        elif self.tail:
            head, end = cut(document, self.tail)
            yield from ((piece is end, piece) for piece in (head, end) if piece.text)
        else:
            yield place(document) < self.below, document


def digest(document: Document) -> bytes:
    """Give the sha256 of a document's content, whatever its name."""
    return hashlib.sha256((document.prompt + document.text).encode()).digest()


def place(document: Document) -> int:
    """Give a document's bin, which depends on nothing but its content."""
    return int.from_bytes(digest(document)[:8], "big") % BINS


def cut(document: Document, tail: float) -> tuple[Document, Document]:
    """Cut the end of a document off, by characters, for validation."""
    at = int(len(document.text) * (1 - tail))  # as nanoGPT does it: int(n * 0.9)
    head = replace(document, text=document.text[:at], part="train", ends=False)
    return head, replace(document, text=document.text[at:], part="val", prompt="", ends=False)


def choose(sizes: list[int], share: float, needed: int) -> Split:
    """Give the split for a share of documents, raised until validation has the bytes it needs.

    `sizes` holds the bytes of the documents in each bin. Training keeps at least half; where no
    document can be spared, the end of each is taken.
    """
    if share == 0:
        return Split()
    total = sum(sizes)
    below = held = 0
    while below < BINS and (below < BINS * share or held < needed):
        if below >= BINS * share and held + sizes[below] > total / 2:
            break
        held += sizes[below]
        below += 1
    if 0 < held < total:
        return Split(below=below)
    return Split(tail=min(0.5, max(share, needed / max(total, 1))))
