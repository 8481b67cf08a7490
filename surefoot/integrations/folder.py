"""The run folder of a loop that isn't surefoot's: journal, status and lock, as any run has."""

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from surefoot.errors import Problem, RunError
from surefoot.recipe import schema
from surefoot.records import End, Header, Record, Step, read
from surefoot.shelf.disk import Disk
from surefoot.shelf.journal import Journal
from surefoot.shelf.lock import Lock, host_hash
from surefoot.show.summary import Status, metrics

STATUS_S = 2.0


class Folder:
    """Where a foreign loop's records lie, so that all that reads runs reads them."""

    def __init__(self, path: Path, steps: int) -> None:
        self.path, self.disk, self.steps = path, Disk(), steps
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            why = f"no folder can be made there ({error.strerror or error})"
            raise RunError(Problem(str(path), "", why, "Give another folder as run=")) from None
        if (path / "recipe.toml").exists():
            why = "surefoot trains into it; a loop of your own needs a folder of its own"
            raise RunError(Problem(str(path), "", why, "Give another folder as run="))
        self.lock = Lock(path, self.disk)
        train = schema.Train.model_construct(steps=steps)
        self.status = Status(schema.Recipe.model_construct(train=train))
        self.journal: Journal | None = None
        self.told = self.begun = time.monotonic()

    def past(self, before: int | None = None) -> Iterator[Record]:
        """Read the journal: all of it, or the steps that led to one, of the last generation."""
        path = self.path / "journal.jsonl"
        if not path.exists():
            return
        if self.journal is not None:
            self.journal.flush()
        first: dict[int, int] = {}  # generation -> its first step
        for record in read(path):
            if isinstance(record, Step):
                first.setdefault(record.generation, record.step)
        for record in read(path):
            starts = [step for later, step in first.items() if later > record.generation]
            if before is None or record.step < min([before, *starts]):
                yield record

    def open(self, header: Header) -> None:
        """Begin to write."""
        for record in self.past():
            self.status.take(record)
        self.journal = Journal(self.path / "journal.jsonl", self.disk)
        facts = {"name": self.path.name, "steps": self.steps, "host_hash": host_hash()}
        self.write(Header(step=max(0, header.step), generation=header.generation, facts=facts))

    def write(self, record: Record) -> None:
        """Journal a record, and tell the status from time to time."""
        assert self.journal is not None, "the folder is open"
        self.status.take(self.journal.write(record))
        now = time.monotonic()
        if not isinstance(record, Step) or now - self.told > STATUS_S:
            self.told = now
            self.replace("status.json", json.dumps(self.status.row()) + "\n")

    def replace(self, name: str, text: str) -> None:
        """Replace a small file; on a full disk the old one stays."""
        with suppress(OSError):  # the journal has the same trouble, and more patience
            self.disk.write_atomic(self.path / name, text.encode())

    def close(self, end: End) -> None:
        """End the journal and let the folder go; twice does no harm."""
        if self.journal is None:
            return
        hours = round((time.monotonic() - self.begun) / 3600, 6)
        self.write(replace(end, hours=hours))
        self.journal.close()
        self.journal = None
        summed = metrics(read(self.path / "journal.jsonl"))
        self.replace("metrics.json", json.dumps(summed, indent=1) + "\n")
        self.lock.release()
