"""A corpus as a recipe names it: its files, its documents, and what was found on one look at it."""

import dataclasses
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from surefoot import kinds
from surefoot.data.cache import Cache, Progress, key, read_json
from surefoot.data.documents import BINS, Document, Split, choose, digest, place
from surefoot.data.reading import shown
from surefoot.data.shards import Shard
from surefoot.errors import DataError, Problem
from surefoot.recipe.choice import Choice

MOST_BAD = 0.001  # share of lines that may be skipped: above it the file is not what it should be
PATIENCE = 1.0  # seconds before progress is shown
BEAT = 0.2  # seconds between two showings


class Shown:
    """Tells of progress from the first second on, five times a second."""

    def __init__(self, progress: Progress | None) -> None:
        self.progress = progress
        self.next = time.monotonic() + PATIENCE
        self.what = ""

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if self.progress is None or (now < self.next and (what == self.what or not self.what)):
            return
        self.next, self.what = now + BEAT, what
        self.progress(what, done, total)


@dataclass(frozen=True, slots=True)
class Scan:
    """What one look at all documents found."""

    documents: int
    bytes: int
    sizes: list[int]  # bytes in each bin of the split
    counts: list[int]  # documents in each bin
    parted: bool  # whether the corpus itself says what is for validation
    skipped: dict[str, int]

    def split(self, share: float, needed: float) -> Split:
        """Give the split for a share, raised where it is too small."""
        return Split() if self.parted else choose(self.sizes, share, int(needed))

    def trained(self, split: Split) -> int:
        """Count the documents that are left for training."""
        return sum(self.counts[split.below :])


@dataclass(frozen=True)
class Corpus:
    """The text that a recipe names, read from its start as often as asked."""

    options: Choice
    where: Path
    on_bad_line: str
    cache: Cache
    progress: Progress = field(default_factory=lambda: Shown(None))

    @cached_property
    def module(self) -> Any:
        """Find the corpus' file."""
        return kinds.find("corpora", self.options.kind, "data.corpus.kind")

    @cached_property
    def files(self) -> list[Path]:
        """List the files it is read from."""
        return self.module.files(self.options, self.where)

    @cached_property
    def digests(self) -> dict[str, str]:
        """Map each file to its sha256."""
        names = [shown(path, self.where) for path in self.files]
        return dict(zip(names, self.cache.digests(self.files, self.progress), strict=True))

    def moved(self) -> bool:
        """Tell whether a file was changed since its digest was taken."""
        return self.cache.digests(self.files, None) != list(self.digests.values())

    @cached_property
    def key(self) -> str:
        """Name the corpus by its content and its options, but not by where it lies."""
        options = self.options.model_dump(exclude={"path"})
        # text that is generated changes with its file here, which no digest shows
        version = [self.module.VERSION] if hasattr(self.module, "VERSION") else []
        return key("corpus", options, self.on_bad_line, list(self.digests.values()), *version)

    @property
    def in_place(self) -> bool:
        """Whether it comes as tokens."""
        return hasattr(self.module, "tokens")

    def shards(self) -> list[Shard]:
        """Give where its tokens stand."""
        return self.module.tokens(self.options, self.where)

    def documents(self, tally: Counter[str] | None = None) -> Iterator[Document]:
        """Give all documents; what is wrong is refused, or counted and left out."""
        given = bad = 0
        first: Problem | None = None
        tally = Counter() if tally is None else tally
        for found in self.module.documents(self.options, self.where):
            if isinstance(found, Document):
                given += 1
                yield found
                continue
            tally[found.why] += 1
            if found.problem is not None:
                bad += 1
                first = first or found.problem
                if self.on_bad_line == "refuse":
                    raise DataError(found.problem)
        if first and not given:
            raise DataError(unreadable(self.options.kind, bad, first))
        if first and bad > MOST_BAD * (given + bad):
            raise DataError(too_many(bad, given + bad, first))
        if not given:
            raise DataError(empty(self.options.kind, sum(tally.values())))

    def told(self) -> dict[str, Any]:
        """Give what the corpus says of itself, for the journal."""
        own = getattr(self.module, "facts", None)
        mine = {"corpus": self.options.kind, "files": len(self.files), "bytes": self.size()}
        return mine | (own() if own else {})

    def scan(self) -> Scan:
        """Look at every document once, or remember what was found."""
        folder = self.cache.made(f"scan-{self.key}", self.write_scan)
        return Scan(**read_json(folder / "scan.json"))

    def write_scan(self, folder: Path) -> None:
        """Look at every document."""
        tally: Counter[str] = Counter()
        sizes, counts = [0] * BINS, [0] * BINS
        parted, total, done = False, self.size(), 0
        for document in self.documents(tally):
            size = len(document.text.encode()) + len(document.prompt.encode())
            bin_ = place(document)
            sizes[bin_] += size
            counts[bin_] += 1
            done += size
            parted = parted or bool(document.part)
            self.progress("looking at the documents", done, total)
        found = Scan(sum(counts), done, sizes, counts, parted, dict(tally))
        (folder / "scan.json").write_text(json.dumps(dataclasses.asdict(found)))

    def size(self) -> int:
        """Count the bytes of the files."""
        return sum(path.stat().st_size for path in self.files)

    def same(self, held: set[bytes]) -> list[str]:
        """Name the documents whose content is among these digests."""
        return [d.name for d in self.documents() if digest(d) in held]


def unreadable(kind: str, bad: int, first: Problem) -> Problem:
    """Say that nothing of a corpus could be read."""
    return Problem(
        what="data.corpus",
        value=f'"{kind}"',
        why=f"0 of {bad} could be read (first: {first.what}, {first.why})",
        instead=first.instead,
    )


def too_many(bad: int, total: int, first: Problem) -> Problem:
    """Say that more is damaged than can be skipped."""
    return Problem(
        what="data.on_bad_line",
        value='"skip"',
        why=f"{bad} of {total} can't be read, more than .1% (first: {first.what}, {first.why})",
        instead="Mend the file: so much damage is seldom chance",
    )


def empty(kind: str, skipped: int) -> Problem:
    """Say that a corpus has no text."""
    more = f" ({skipped} empty ones were left out)" if skipped else ""
    return Problem(
        what="data.corpus",
        value=f'"{kind}"',
        why=f"there is no document in it{more}",
        instead='Write data.corpus={kind="text", path="<a folder of text files>"}',
    )
