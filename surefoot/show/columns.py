"""metrics.csv and val.csv: one row a step, one row a validation, drawn from the journal alone."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from surefoot.recipe.schema import Recipe
from surefoot.records import Eval, Header, Record, Step

METRICS, VAL = "metrics.csv", "val.csv"
FRONT = ["step", "generation", "tokens", "time_s", "loss", "ce"]
MEMORY = ["gpu_mem_alloc", "gpu_mem_reserved", "rss"]
UNITS = [f"{name}_{unit}" for name in MEMORY for unit in ("mib", "gib")]
VAL_HEADER = ["step", "generation", "tokens", "time_s", "val_ce", "val_bpb", "val_tokens", "best"]


def metrics_header(recipe: Recipe) -> list[str]:
    """Name the columns of metrics.csv: fixed by the recipe's head, roles and knobs."""
    return [
        *FRONT,
        *aux(recipe),
        *("entropy", "grad_norm"),
        *(f"lr_{role}" for role in recipe.optim),
        *recipe.knobs,
        *("tok_per_s", "step_s", *UNITS, "skipped"),
    ]


def aux(recipe: Recipe) -> list[str]:
    """Name the parts of the loss that a recipe's head reports."""
    head: Any = recipe.model.head
    told = list[str](getattr(head, "aux", ()))
    return told or (["ce_smooth"] if getattr(head, "label_smoothing", 0.0) else [])


class Tables:
    """Turns records into lines of the two tables; the same records always give the same lines."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.header = metrics_header(recipe)
        self.began: float | None = None  # of the run's first line, so that time_s is the run's own
        self.tokens = 0  # seen at the last step

    def headers(self) -> dict[str, str]:
        """Give each table's first line."""
        return {METRICS: line(self.header), VAL: line(VAL_HEADER)}

    def lines(self, record: Record) -> Iterator[tuple[str, str]]:
        """Give the lines that a record adds: (file, line)."""
        if isinstance(record, Header) and self.began is None:
            self.began = record.t
        if isinstance(record, Step):
            self.tokens = record.tokens
            yield METRICS, line(metrics_row(record, self.header, self.began))
        elif isinstance(record, Eval):
            yield VAL, line(val_row(record, self.began, self.tokens))

    def whole(self, records: Sequence[Record]) -> dict[str, str]:
        """Give both tables as a list of records makes them."""
        texts = {name: [text] for name, text in self.headers().items()}
        for record in records:
            for name, text in self.lines(record):
                texts[name].append(text)
        return {name: "".join(lines) for name, lines in texts.items()}


def metrics_row(step: Step, header: Sequence[str], began: float | None) -> list[Any]:
    """Give a step's cells in the order of the header; what was not measured stays empty."""
    told: dict[str, Any] = {
        **{name: getattr(step, name) for name in (*FRONT[:3], "loss", "ce", "entropy")},
        **{name: getattr(step, name) for name in ("grad_norm", "tok_per_s", "step_s")},
        "time_s": since(step.t, began),
        **step.aux,
        **{f"lr_{role}": lr for role, lr in step.lr.items()},
        **step.knobs,
        **memory(step),
        "skipped": int(step.skipped),
    }
    return [told.get(name) for name in header]


def memory(step: Step) -> dict[str, float | None]:
    """Give each memory figure in MiB and in GiB, named so."""
    told: dict[str, float | None] = {}
    for name in MEMORY:
        mib = getattr(step, f"{name}_mib")
        told[f"{name}_mib"] = mib
        told[f"{name}_gib"] = None if mib is None else round(mib / 1024, 3)
    return told


def val_row(record: Eval, began: float | None, tokens: int) -> list[Any]:
    """Give a validation's cells."""
    time_s = since(record.t, began)
    front = [record.step, record.generation, tokens, time_s]
    return [*front, record.val_ce, record.val_bpb, record.val_tokens, int(record.best)]


def since(t: float | None, began: float | None) -> float | None:
    """Give the seconds since the run's first line."""
    return None if t is None or began is None else round(t - began, 3)


def line(cells: Sequence[Any]) -> str:
    """Write one line of CSV."""
    return ",".join(cell(value) for value in cells) + "\n"


def cell(value: Any) -> str:
    """Write one cell: no formula a spreadsheet would run, no comma that isn't quoted."""
    if value is None:
        return ""
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else "nan"
    if isinstance(value, list | tuple):
        return " ".join(cell(inner) for inner in value)  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, Mapping):
        return ""
    text = str(value)
    if isinstance(value, str) and text[:1] in ("=", "+", "-", "@", "\t", "\r"):
        text = f"'{text}"
    if any(sign in text for sign in ',"\r\n'):
        return '"' + text.replace('"', '""') + '"'
    return text
