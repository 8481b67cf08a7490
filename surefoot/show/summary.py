"""A run in a few numbers: status.json while it runs, metrics.json when it has ended."""

import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from surefoot.recipe.schema import Recipe
from surefoot.records import End, Eval, Event, Finding, Header, Record, Remedy, Step, written
from surefoot.show.pace import Pace

PEAKS = ("gpu_mem_alloc_mib", "gpu_mem_peak_mib", "gpu_mem_reserved_mib", "rss_mib")


class Status:
    """What status.json says now; follows every record of the run."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.pace = Pace(recipe.train.steps)
        self.told: dict[str, Any] = {"state": "starting", "step": 0, "steps": recipe.train.steps}
        self.open: dict[str, str] = {}  # findings that are not notes, by id

    def take(self, record: Record) -> None:
        """Take in one record."""
        told = self.told
        self.pace.take(record)
        if isinstance(record, Header):
            keep = {"host_hash": record.facts.get("host_hash", "")}
            told.update(state="starting", step=record.step, exit=None, reason="", **keep)
            self.open.clear()
        elif isinstance(record, Step):
            told.update(state="running", step=record.step, ce=record.ce)
            told.update(tok_per_s=self.pace.tok_per_s, left_s=self.pace.left_s(record.step))
        elif isinstance(record, Eval):
            told.update(val_ce=record.val_ce, val_bpb=record.val_bpb)
        elif isinstance(record, Finding) and record.severity != "note":
            self.open[record.id] = record.severity
        elif isinstance(record, Event) and record.name in ("saved", "already_saved"):
            told.update(saved=record.step, resumable=True)
        elif isinstance(record, End):  # a remedy changes nothing here
            told.update(state=record.state, step=record.step, exit=record.exit, left_s=0.0)
            told.update(reason=record.reason)

    def row(self) -> dict[str, Any]:
        """Give status.json's content."""
        gone = {"findings_open": len(self.open), "updated_t": round(time.time(), 3)}
        empty = {"ce": None, "val_ce": None, "tok_per_s": None, "left_s": None, "exit": None}
        rest = {"reason": "", "saved": None, "resumable": False, "pid": os.getpid()}
        return {"v": 1, **written({**empty, **rest, **self.told, **gone})}


def metrics(records: Iterable[Record]) -> dict[str, Any]:
    """Give metrics.json's content."""
    seen = Totals()
    for record in records:
        seen.take(record)
    return {"v": 1, **written(seen.row())}


class Totals:
    """Adds a run up; of steps that were done again the newest generation counts."""

    def __init__(self) -> None:
        self.header: Mapping[str, Any] = {}
        self.steps: dict[int, tuple[int, float | None]] = {}  # step -> generation, tok_per_s
        self.tokens = 0
        self.last: Step | None = None
        self.evaluated: Eval | None = None
        self.best: Eval | None = None
        self.peaks: dict[str, float] = {}
        self.counts: Counter[str] = Counter()
        self.severities: Counter[str] = Counter()
        self.end: End | None = None
        self.hours = 0.0

    def take(self, record: Record) -> None:
        """Take in one record."""
        if isinstance(record, Header):
            self.header = self.header or record.facts
        elif isinstance(record, Step):
            self.take_step(record)
        elif isinstance(record, Eval):
            self.evaluated = record
            self.best = record if record.best else self.best
        elif isinstance(record, Finding):
            self.severities[record.severity] += 1
        elif isinstance(record, Remedy):
            self.counts["remedies"] += 1
        elif isinstance(record, Event):
            self.counts["oom"] += record.name == "oom_split"
            self.counts["resumed"] += record.name == "resumed"
        else:
            self.end, self.hours = record, self.hours + record.hours
            if record.peak_rss_mib is not None:
                self.peaks["rss_mib"] = max(record.peak_rss_mib, self.peaks.get("rss_mib", 0.0))
            self.counts["crash"] += record.state == "failed"

    def take_step(self, step: Step) -> None:
        """Take in one step."""
        self.steps[step.step] = (step.generation, step.tok_per_s)
        self.last, self.tokens = step, max(self.tokens, step.tokens)
        self.counts["skipped"] += step.skipped
        self.counts["nan"] += bool(step.nonfinite)
        for name in PEAKS:
            value = getattr(step, name)
            if value is not None:
                self.peaks[name] = max(value, self.peaks.get(name, 0.0))

    def row(self) -> dict[str, Any]:
        """Give the sums."""
        speeds = sorted(speed for _, speed in self.steps.values() if speed is not None)
        last, evaluated, best = self.last, self.evaluated, self.best
        kinds = ("nan", "oom", "crash", "skipped", "remedies", "resumed")
        return {
            "steps": len(self.steps),
            "tokens": self.tokens,
            "hours": round(self.hours, 4),
            "final": {
                "ce": evaluated.val_ce if evaluated else None,
                "bpb": evaluated.val_bpb if evaluated else None,
                "loss": last.loss if last else None,
            },
            "best": {"step": best.step, "ce": best.val_ce} if best else None,
            "tok_per_s": {
                "median": quantile(speeds, 0.5),
                "p10": quantile(speeds, 0.1),
                "p90": quantile(speeds, 0.9),
            },
            "peak": both_units(self.peaks),
            "counts": {kind: int(self.counts[kind]) for kind in kinds}
            | {"findings": dict(sorted(self.severities.items()))},
            "forecast": self.against_forecast(),
            "exit": self.end.exit if self.end else None,
        }

    def against_forecast(self) -> dict[str, Any]:
        """Set what was forecast beside what was measured."""
        told: Mapping[str, Any] = self.header.get("forecast") or {}
        peak = self.peaks.get("gpu_mem_peak_mib", self.peaks.get("rss_mib"))
        return {
            "forecast_s": told.get("seconds"),
            "measured_s": round(self.hours * 3600, 1) if self.hours else None,
            "forecast_mem_gib": told.get("mem_gib"),
            "measured_mem_gib": None if peak is None else round(peak / 1024, 3),
        }


def both_units(mib: Mapping[str, float]) -> dict[str, float]:
    """Give each amount in MiB and in GiB, named so."""
    told: dict[str, float] = {}
    for name, value in mib.items():
        told[name] = round(value, 1)
        told[f"{name.removesuffix('_mib')}_gib"] = round(value / 1024, 3)
    return told


def quantile(ordered: list[float], share: float) -> float | None:
    """Give a quantile of sorted numbers, between its neighbours in a straight line."""
    if not ordered:
        return None
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return round(ordered[low] + (ordered[high] - ordered[low]) * (place - low), 1)
