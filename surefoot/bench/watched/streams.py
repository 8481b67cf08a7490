"""A stream: what one run's journal told a guard, packed small, and the same again when unpacked.

Steps are kept as columns of rounded numbers; what follows from the recipe and the events (planned
rates and knobs) is not kept but planned again. What the clock or the machine measured is left out.
"""

import json
import lzma
import math
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from surefoot.plan.plan import Knobs, Plan
from surefoot.recipe import write
from surefoot.recipe.schema import Recipe
from surefoot.records import (
    MEASURED,
    Eval,
    Event,
    Record,
    Remedy,
    Step,
    number,
    parse,
    row,
    written,
)

DIGITS = 5
LEFT_OUT = frozenset({"saved", "already_saved", "audited", "signal", "accepted"})
PLANNED = frozenset({"lr", "knobs", "tokens", "generation", "valid_tokens", "clipped"})


@dataclass(frozen=True, slots=True)
class Stream:
    """One run, as its guard saw it."""

    kind: str
    half: str
    seed: int
    recipe: Recipe
    facts: Mapping[str, Any]
    records: Sequence[Record]
    first: tuple[int, int] | None = None  # until this step it was planned for so many steps

    @property
    def steps(self) -> list[Step]:
        """Give the steps alone."""
        return [record for record in self.records if isinstance(record, Step)]

    def planned(self) -> Callable[[int], Knobs]:
        """Give what the steps were made by: the plan, or the one before it was made longer."""
        return planned(self.recipe, bends(self.records), self.first)


def planned(
    recipe: Recipe, events: Sequence[Event | Remedy], first: tuple[int, int] | None
) -> Callable[[int], Knobs]:
    """Plan the steps; the first of them, where there are any, for a shorter run."""
    whole = Plan(recipe, events)
    if first is None:
        return whole.at
    until, steps = first
    shorter = recipe.model_copy(update={"train": recipe.train.model_copy(update={"steps": steps})})
    short = Plan(shorter, events)
    return lambda step: (short if step <= until else whole).at(step)


def bends(records: Iterable[Record]) -> list[Event | Remedy]:
    """Give what bent the plan."""
    return [record for record in records if isinstance(record, Event | Remedy)]


def gathered(
    about: tuple[str, str, int],
    recipe: Recipe,
    facts: Mapping[str, Any],
    records: Iterable[Record],
    shorter: int = 0,
) -> Stream:
    """Make a stream of a journal; it is packed and unpacked, so that it is what a file gives.

    `about` is its kind, half and seed; `shorter` what a run that was made longer was planned for
    at first.
    """
    kept = [
        record
        for record in records
        if isinstance(record, Step | Eval)
        or (isinstance(record, Event) and record.name not in LEFT_OUT)
    ]
    resumed = [r.step for r in kept if isinstance(r, Event) and r.name == "resumed"]
    first = (resumed[-1], shorter) if shorter and resumed else None
    return unpacked(packed(Stream(*about, recipe, facts, kept, first)))


def packed(stream: Stream) -> dict[str, Any]:
    """Give a stream as JSON."""
    steps, at = stream.steps, stream.planned()
    recipe = tomllib.loads(write.text(stream.recipe))
    recipe["data"].pop("corpus")  # where a text lay is nobody's business
    columns = {
        f.name: [rounded(getattr(step, f.name)) for step in steps]
        for f in fields(Step)
        if f.name not in MEASURED | PLANNED
    }
    columns["batch_hash"] = shortened([step.batch_hash for step in steps])
    columns["lr"] = [unlike(step.lr, at(step.step).lr) for step in steps]
    return {
        "v": 1,
        "kind": stream.kind,
        "half": stream.half,
        "seed": stream.seed,
        "recipe": recipe,
        "facts": {name: rounded(value) for name, value in stream.facts.items()},
        "first": stream.first,
        "count": len(steps),
        "steps": {n: told for n, c in columns.items() if (told := brief(c)) is not None},
        "between": between(stream.records),
    }


def between(records: Iterable[Record]) -> list[list[Any]]:
    """Give what is no step, each with the number of steps before it."""
    found: list[list[Any]] = []
    done = 0
    for record in records:
        if isinstance(record, Step):
            done += 1
        else:
            told = {key: rounded(v) for key, v in row(record).items() if key not in MEASURED}
            found.append([done, told])
    return found


def unlike(used: Mapping[str, float], planned: Mapping[str, float]) -> dict[str, float]:
    """Give the rates that the plan did not set."""
    return {role: rate for role, rate in used.items() if rate != planned.get(role)}


def shortened(hashes: Sequence[str]) -> list[int]:
    """Number the batches by their first appearance: all that matters is which are the same."""
    seen: dict[str, int] = {}
    return [seen.setdefault(one, len(seen)) for one in hashes]


def brief(column: list[Any]) -> Any:
    """Give a column; one value alone where it is everywhere the same, none where it is empty."""
    if all(value == column[0] for value in column):
        return None if column[0] in (None, {}, 0, False) else {"all": column[0]}
    return column


def rounded(value: Any) -> Any:
    """Round to what a guard could not tell apart, as strict JSON."""
    if isinstance(value, float) and math.isfinite(value):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, Mapping):
        return {str(k): rounded(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(inner) for inner in value]
    return written(value)


def unpacked(told: Mapping[str, Any]) -> Stream:
    """Build a stream again."""
    recipe = Recipe.model_validate(told["recipe"])
    others = [(int(done), parse(raw)) for done, raw in told["between"]]
    first = tuple(told["first"]) if told.get("first") else None
    events = bends(record for _, record in others if record is not None)
    at = planned(recipe, events, first)
    steps = list(stepped(told["steps"], told["count"], recipe, at))
    records: list[Record] = []
    for count in range(len(steps) + 1):
        records += [record for done, record in others if done == count and record is not None]
        records += steps[count : count + 1]
    about = (told["kind"], told["half"], told["seed"])
    return Stream(*about, recipe, told["facts"], records, first)


def stepped(
    columns: Mapping[str, Any], count: int, recipe: Recipe, at: Callable[[int], Knobs]
) -> Iterator[Step]:
    """Build the steps, each with what was planned for it."""
    train = recipe.train
    seen = train.batch * train.accumulate * train.seq_len
    for i in range(count):
        own = {n: c["all"] if isinstance(c, dict) else c[i] for n, c in columns.items()}
        own = {name: number(value) for name, value in own.items() if value is not None}
        knobs = at(int(own["step"]))
        lr = {**knobs.lr, **own.pop("lr", {})}
        step = Step(**{"loss": math.nan, "ce": math.nan, "grad_norm": 0.0, **own}, lr=lr)
        yield replace(
            step,
            batch_hash=str(own.get("batch_hash", "")),
            knobs=dict(knobs.values),
            tokens=step.step * seen,
            valid_tokens=seen,
            clipped=bool(train.clip) and step.grad_norm > train.clip,
        )


def keep(folder: Path, streams: Iterable[Stream]) -> None:
    """Write streams, a file a kind, a line a run."""
    by_kind: dict[str, list[str]] = {}
    for stream in streams:
        text = json.dumps(packed(stream), allow_nan=False, separators=(",", ":"))
        by_kind.setdefault(stream.kind, []).append(text)
    folder.mkdir(parents=True, exist_ok=True)
    for kind, lines in by_kind.items():
        raw = "".join(f"{line}\n" for line in lines).encode()
        (folder / f"{kind}.jsonl.xz").write_bytes(lzma.compress(raw, preset=9))


def kept(folder: Path) -> list[Stream]:
    """Read all streams of a folder."""
    found: list[Stream] = []
    for path in sorted(folder.glob("*.jsonl.xz")):
        lines = lzma.decompress(path.read_bytes()).decode().splitlines()
        found += [unpacked(json.loads(line)) for line in lines]
    return found
