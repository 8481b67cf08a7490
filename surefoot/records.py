"""The plain numbers that everything shown is drawn from: Step, Event, Finding, Remedy and kin."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

VERSION = 1
Severity = Literal["note", "warn", "act", "refuse"]

# Fields that depend on the clock or the machine: left out when two runs are compared.
MEASURED = frozenset(
    {"t", "step_s", "data_s", "forward_s", "backward_s", "update_s", "save_stall_s", "eval_s"}
    | {"tok_per_s", "mfu_share", "alloc_retries", "gpu_temp_c", "disk_free_gib", "rank_age_s"}
    | {"transient"}
    | {"loss_checksum"}  # one a rank: a run may change their number on the way
    | {
        f"{name}_{unit}"
        for name in ("gpu_mem_alloc", "gpu_mem_peak", "gpu_mem_reserved", "rss")
        for unit in ("mib", "gib")
    }
)
# Kinds of line, and names of events, that tell of one process and not of the training itself.
AMBIENT = frozenset(
    {"run", "end", "saved", "already_saved", "save_failed", "resumed", "branched", "fallback"}
    | {"signal", "accepted"}
)
# What findings' sources begin with whose grounds are one disk, one start or one machine: no equal
# run finds the same, and a replay does not find them again.
LOCAL = ("shelf", "rule", "machine:")


def empty() -> dict[str, Any]:
    """Give a fresh dict, typed."""
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one optimiser step reports; what was not measured is None and stays unwritten."""

    step: int
    generation: int = 0
    tokens: int = 0  # seen so far, this step included
    position: int = 0  # of the first row in the data order
    batch_hash: str = ""
    loss: float  # what is optimised, nats
    ce: float  # next-token cross-entropy, nats
    aux: Mapping[str, float] = field(default_factory=empty)
    entropy: float | None = None
    z2: float | None = None
    valid_tokens: int = 0
    lr: Mapping[str, float] = field(default_factory=empty)  # role -> what the optimiser used
    knobs: Mapping[str, Any] = field(default_factory=empty)
    grad_norm: float  # before clipping
    clipped: bool = False
    skipped: bool = False
    # micro-batches left out: {rank, micro, of, positions, what, layer} each
    skipped_micro: list[Mapping[str, Any]] | None = None
    nonfinite: Mapping[str, int] = field(default_factory=empty)
    # only on probe steps, or where the model has them
    layer_grad_norm: list[float] | None = None
    layer_out_rms: list[float] | None = None
    update_ratio: Mapping[str, float] | None = None
    logit_max: float | None = None
    logit_sat_share: float | None = None
    gates: Mapping[str, float] | None = None  # of a mixer's branches, model-wide
    selection: Mapping[str, float] | None = None  # of the blocks that a mixer reads
    fallbacks: Mapping[str, int] | None = None  # "<branch>.<reason>" -> calls, and all "calls"
    reads_pred: int | None = None  # reads by the formula
    reads_act: int | None = None  # reads that were counted
    loss_checksum: Mapping[str, str] | None = None  # rank -> of its loss and norm
    stats: Mapping[str, float] | None = None
    # measured
    t: float | None = None
    step_s: float | None = None
    data_s: float | None = None
    forward_s: float | None = None
    backward_s: float | None = None
    update_s: float | None = None
    save_stall_s: float | None = None
    tok_per_s: float | None = None
    gpu_mem_alloc_mib: float | None = None
    gpu_mem_peak_mib: float | None = None
    gpu_mem_reserved_mib: float | None = None
    rss_mib: float | None = None
    alloc_retries: int | None = None  # so far
    transient: list[int] | None = None  # ranks whose bad numbers were gone when done again
    disk_free_gib: float | None = None
    rank_age_s: Mapping[str, float] | None = None  # rank -> since it last moved on


@dataclass(frozen=True, slots=True, kw_only=True)
class Eval:
    """What one pass over the validation set reports."""

    step: int
    generation: int = 0
    what: str = "val"
    val_ce: float
    val_bpb: float
    val_tokens: int
    best: bool = False
    t: float | None = None
    eval_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to a run; those that bend the plan hold from `step` on."""

    name: str
    step: int
    generation: int = 0
    args: Mapping[str, Any] = field(default_factory=empty)
    planned: bool = False
    t: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a rule or a monitor concludes, with the numbers that made it."""

    id: str
    severity: Severity
    what: str
    value: str
    why: str
    instead: str
    step: int = 0
    generation: int = 0
    evidence: Mapping[str, Any] = field(default_factory=empty)
    since: int | None = None
    source: str = ""
    episode: int = 1
    t: float | None = None

    def __str__(self) -> str:
        shown = f"{self.what} = {self.value}" if self.value else self.what
        return f"{shown}: {self.why}. {self.instead}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """An answer to a finding; `name` is a file of guard/remedies; it holds from `at_step` on."""

    id: str
    name: str
    at_step: int
    step: int = 0
    generation: int = 0
    args: Mapping[str, Any] = field(default_factory=empty)
    answers: str = ""
    t: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The journal's first line, and one more for each process that goes on with the run."""

    step: int = 0
    generation: int = 0
    facts: Mapping[str, Any] = field(default_factory=empty)
    t: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How a process that trained came to its end."""

    step: int
    generation: int = 0
    state: str
    exit: int
    reason: str = ""
    best: Mapping[str, Any] = field(default_factory=empty)
    hours: float = 0.0
    peak_rss_mib: float | None = None  # of the training, not of the preparation before it
    t: float | None = None


Record = Step | Eval | Event | Finding | Remedy | Header | End
KINDS: dict[str, type[Record]] = {
    "run": Header,
    "step": Step,
    "eval": Eval,
    "event": Event,
    "finding": Finding,
    "remedy": Remedy,
    "end": End,
}
NAMES = {kind: name for name, kind in KINDS.items()}


def row(record: Record) -> dict[str, Any]:
    """Give a record as the journal writes it: no absent fields, non-finite numbers as text."""
    line: dict[str, Any] = {"v": VERSION, "kind": NAMES[type(record)]}
    for f in fields(record):
        value = getattr(record, f.name)
        if value is None or (value == {} and f.name not in ("lr", "knobs")):
            continue
        if f.name == "facts":
            line.update(written(value))
            continue
        line[f.name] = written(value)
        if f.name.endswith("_mib"):
            line[f.name[:-4] + "_gib"] = round(value / 1024, 3)
    return line


def written(value: Any) -> Any:
    """Turn a value into strict JSON: "nan", "inf" and "-inf" are text."""
    if isinstance(value, int | str):  # most are: whether it is a Mapping takes long
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    if isinstance(value, Mapping):
        return {str(key): written(inner) for key, inner in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, list | tuple):
        return [written(inner) for inner in value]  # pyright: ignore[reportUnknownVariableType]
    return value


def number(value: Any) -> Any:
    """Turn "nan", "inf" and "-inf" back into floats."""
    if isinstance(value, str):
        return float(value) if value in ("nan", "inf", "-inf") else value
    if isinstance(value, list):
        return [number(inner) for inner in value]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, Mapping):
        return {key: number(inner) for key, inner in value.items()}  # pyright: ignore[reportUnknownVariableType]
    return value


def line(record: Record) -> str:
    """Give a record as one journal line, its newline included."""
    return json.dumps(row(record), allow_nan=False, separators=(",", ":")) + "\n"


WORDED = frozenset({"args", "evidence"})  # here "nan" may be a word: a drill's kind, a file's name


def parse(raw: Mapping[str, Any]) -> Record | None:
    """Read one journal row back; a kind of a later version gives None, unknown fields go."""
    kind = KINDS.get(str(raw.get("kind")))
    if kind is None:
        return None
    if kind is Header:
        own = {"step", "generation", "t", "v", "kind"}
        return Header(
            step=raw.get("step", 0),
            generation=raw.get("generation", 0),
            facts={key: value for key, value in raw.items() if key not in own},
            t=raw.get("t"),
        )
    known = {f.name for f in fields(kind)}
    told = {key: value for key, value in raw.items() if key in known}
    return kind(**{key: v if key in WORDED else number(v) for key, v in told.items()})


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """Stream a journal's rows; a last line without its newline was never finished."""
    with path.open("rb") as file:
        for text in file:
            if text.endswith(b"\n"):
                yield json.loads(text)


def read(path: Path) -> Iterator[Record]:
    """Stream a journal's records."""
    for raw in rows(path):
        if (record := parse(raw)) is not None:
            yield record


def replayable(raw: Mapping[str, Any]) -> dict[str, Any] | None:
    """Give what an equal run must write again on this line, or None for an ambient one."""
    if raw.get("kind") in AMBIENT or raw.get("name") in AMBIENT:
        return None
    if raw.get("kind") == "finding" and str(raw.get("source")).startswith(LOCAL):
        return None  # not found in the training
    return {key: value for key, value in raw.items() if key not in MEASURED}
