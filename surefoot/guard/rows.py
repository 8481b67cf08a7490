"""What a reader gives of a log that surefoot didn't write: rows, facts, and what it left out."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from surefoot.errors import Problem, UsageError

# what a row may hold, by our own names; lr may also come by role, as lr/matrix
FIELDS = (
    "step", "loss", "ce", "entropy", "val_ce", "lr", "grad_norm", "tok_per_s", "step_s", "mem_mib",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a log: a step, and the numbers that stand there."""

    step: int
    values: Mapping[str, float]
    run: str = ""  # the title of the table it stands in
    note: str = ""  # what somebody wrote beside it
    line: int = 0


@dataclass(frozen=True, slots=True)
class Fact:
    """A number that a log says of a whole run: steps, duration_s, tok_per_s."""

    name: str
    value: float
    run: str = ""


Told = Row | Fact


def no_counts() -> Counter[str]:
    """Give an empty count, typed."""
    return Counter()


@dataclass(slots=True)
class Reading:
    """One reading of one file: what was asked for, and what came of it."""

    columns: Mapping[str, str] = field(default_factory=dict[str, str])  # a log's name -> ours
    most_bytes: int = 0  # 0: all
    left: Counter[str] = field(default_factory=no_counts)  # why -> how many rows
    said: dict[str, None] = field(default_factory=dict[str, None])  # in order, each once
    fields: dict[str, str] = field(default_factory=dict[str, str])  # ours -> as the log calls it

    def leave(self, why: str) -> None:
        """Count a row that could not be used."""
        self.left[why] += 1

    def say(self, what: str) -> None:
        """Note how something was understood."""
        self.said[what] = None

    def take(self, name: str, called: str) -> None:
        """Note which of a log's names a field was read from."""
        self.fields.setdefault(name, called)


def merged(rows: Iterable[Told]) -> Iterator[Told]:
    """Join rows of one step that follow each other: sparse logs write a field a row."""
    held: Row | None = None
    for row in rows:
        if isinstance(row, Fact):
            yield row
            continue
        if held is not None and (held.run, held.step) == (row.run, row.step):
            values = {**held.values, **row.values}
            held = replace(held, values=values, note=held.note or row.note)
            continue
        if held is not None:
            yield held
        held = row
    if held is not None:
        yield held


def columns_of(told: Iterable[str]) -> dict[str, str]:
    """Read `--map name=field`: how a log calls it, and what it is here."""
    found: dict[str, str] = {}
    for text in told:
        called, _, name = text.rpartition("=")
        if not called or name not in FIELDS:
            why = "it names no field of a log" if called else "it needs a name and a field"
            raise UsageError(
                Problem("--map", text, why, f"Write --map NAME=FIELD (fields: {', '.join(FIELDS)})")
            )
        found[called.strip()] = name
    return found
