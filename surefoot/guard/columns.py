"""What a log calls its columns, and how the numbers in them are written."""

import math
import re
from collections.abc import Sequence
from contextlib import suppress

from surefoot.errors import Problem, UsageError
from surefoot.guard.rows import Reading, Row
from surefoot.guard.text import Line

# our name -> what others call it, in small letters and without _ - / ( ) and blanks
CALLED = {
    "step": "step iter iteration globalstep it",
    "loss": "loss trainloss trainingloss",
    "ce": "ce nll xent",
    "entropy": "h entropy",  # never ce, whatever the caption says
    "val_ce": "val valloss evalloss valce validationloss",
    "lr": "lr learningrate",
    "grad_norm": "gnorm gradnorm graddnorm gradientnorm totalnorm",
    "tok_per_s": "toks toks/s tokpers tokpersec tokenspersec tokenspers throughput",
    "step_s": "steps steptime stepseconds s/it",
    "mem_mib": "mem gpumemalloc gpumemallocmib memmib memgib memory",
}
NAMES = {called: name for name, words in CALLED.items() for called in words.split()}
BY_ROLE = re.compile(r"lr[_\-/]([\w./-]+)", re.IGNORECASE)
MISSING = {"", "-", "–", "—", "−", "n/a", "na", "none", "null", "?", "."}
INFINITE = {f"{sign}{word}" for sign in ("", "+", "-") for word in ("inf", "infinity")}
NUMBER = re.compile(
    r"[~≈<>=]*+\s*+(?P<number>[+-]?(?:\d{1,3}(?:,\d{3})++(?:\.\d*+)?+|\d++(?:\.\d*+)?+|\.\d++)"
    r"(?:[eE][+-]?\d++)?)\s*+(?P<unit>[A-Za-zµ%°×][\w%/.]*+)?"
)
# what a unit multiplies a number by, where the field is ours
TIMES = {
    "k": 1e3,
    "m": 1e6,
    "g": 1e9,
    "b": 1e9,
    "%": 0.01,
    "ms": 1e-3,
    "us": 1e-6,
    "µs": 1e-6,
    "min": 60.0,
    "minutes": 60.0,
    "h": 3600.0,
}
MEM_TIMES = {"gib": 1024.0, "g": 1024.0, "gb": 1e9 / 2**20, "mb": 1e6 / 2**20, "m": 1.0}
MIB_FROM = 1000.0  # a bare number so large is MiB, a smaller one GiB


def plain(called: str) -> str:
    """Write a column's name as the table above does."""
    return re.sub(r"[\s_\-/()]+", "", called.strip().lower())


def field_of(called: str, reading: Reading) -> str:
    """Say which field a column is; "" where it is none."""
    if called in reading.columns:
        return reading.columns[called]
    known = plain(called)
    for mapped, name in reading.columns.items():
        if plain(mapped) == known:
            return name
    if name := NAMES.get(known):
        return name
    role = BY_ROLE.fullmatch(called.strip())
    return f"lr/{role[1]}" if role else ""


def fields_of(cells: Sequence[str], reading: Reading) -> list[str]:
    """Name the field of each column as it looks; "" where it is none."""
    found = [field_of(cell, reading) for cell in cells]
    for place, cell in enumerate(cells):  # train/lr is the lr where there is no other
        weak = NAMES.get(plain(cell).removeprefix("train"), "")
        found[place] = found[place] or (weak if weak not in found else "")
    return found


def header_of(cells: Sequence[str], reading: Reading, where: str = "") -> list[str]:
    """Name the field of each column; two of one field are a mistake to be settled by --map."""
    found = fields_of(cells, reading)
    if not is_header(found):
        return found
    for name in dict.fromkeys(filter(None, found)):
        same = [cell.strip() for cell, other in zip(cells, found, strict=True) if other == name]
        chosen = [cell for cell in same if cell in reading.columns]
        if len(same) > 1 and len(chosen) != 1:
            raise UsageError(ambiguous(name, same, where))
        kept = chosen[0] if chosen else same[0]
        found = [
            "" if other == name and cell.strip() != kept else other
            for cell, other in zip(cells, found, strict=True)
        ]
        reading.take(name, kept)
    return found


def ambiguous(name: str, same: Sequence[str], where: str) -> Problem:
    """Say that several columns could be one field."""
    shown = ", ".join(dict.fromkeys(same))
    return Problem(
        where or "columns",
        shown,
        f"{len(same)} columns could be {name}",
        f'Write --map "{same[0]}={name}" or another of them',
    )


def is_header(found: Sequence[str]) -> bool:
    """Say whether columns tell of training: a step, and something that was measured there."""
    known = {name for name in found if name}
    return "step" in known and bool(known - {"step", "lr", "tok_per_s", "step_s", "mem_mib"})


def number_of(text: str, name: str = "", comma: bool = False) -> float | None:
    """Read a number as people write it; None where a cell is empty or is no number."""
    if not comma:
        with suppress(ValueError):
            return float(text)  # most are written so
    said = text.strip().strip("*`|\"'").strip()
    if said.lower() in MISSING:
        return None
    if said.lower() in INFINITE or said.lower() == "nan":
        return float(said)
    found = NUMBER.fullmatch(said.replace(",", ".") if comma else said)
    if found is None:
        return None
    value, unit = float(found["number"].replace(",", "")), (found["unit"] or "").lower()
    return scaled(value, unit, name)


def scaled(value: float, unit: str, name: str) -> float:
    """Bring a number into the unit of its field."""
    if name == "mem_mib":
        return value * MEM_TIMES.get(unit.removesuffix("s"), 1.0)
    front = unit.split("/")[0]
    if name == "tok_per_s" and len(front) > 1:
        front = front[0] if front[0] in "kmg" else ""
    return value * TIMES.get(front, 1.0)


def values_of(
    found: Sequence[str], cells: Sequence[str], reading: Reading, comma: bool = False
) -> dict[str, float]:
    """Read one row's numbers; what is missing stays out, NaN counts in a loss alone."""
    values: dict[str, float] = {}
    for name, cell in zip(found, cells, strict=False):
        if not name:
            continue
        value = number_of(cell, name, comma)
        if value is not None and keeps(name, value):
            values[name] = with_unit(value, cell, reading) if name == "mem_mib" else value
    return values


def keeps(name: str, value: float) -> bool:
    """Say whether a value tells something: of a loss that it isn't finite, too."""
    return math.isfinite(value) or name in ("loss", "ce")


def with_unit(value: float, cell: str, reading: Reading) -> float:
    """Ask a bare size by its size: a GPU has less than 1000 GiB, and more than 1000 MiB."""
    if re.search(r"[A-Za-z]", cell):
        return value
    called = plain(reading.fields.get("mem_mib", ""))
    if called.endswith("mib"):
        return value
    if called.endswith("gib"):
        return value * 1024
    unit = "MiB" if value > MIB_FROM else "GiB"
    reading.say(f"{reading.fields.get('mem_mib', 'mem')} has no unit: read as {unit} by its size")
    return value if unit == "MiB" else value * 1024


def step_of(values: dict[str, float]) -> int | None:
    """Take the step out of a row's numbers; None if it is none."""
    step = values.pop("step", math.nan)
    return int(step) if math.isfinite(step) and step >= 0 and step == int(step) else None


def row_of(
    found: Sequence[str], cells: Sequence[str], line: Line, reading: Reading, comma: bool = False
) -> Row | None:
    """Make a row of cells; one without a step or a number is counted as left out."""
    if len(cells) != len(found):
        cut = not line.ended and len(cells) < len(found)
        reading.leave("last line is cut" if cut else f"not the {len(found)} cells of the header")
        return None
    values = values_of(found, cells, reading, comma)
    step = step_of(values)
    if step is None or not values:
        reading.leave("no step" if step is None else "no number")
        return None
    return Row(step, values, line=line.number)
