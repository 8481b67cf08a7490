"""Judges streams: what was found of sick runs and how soon, what was said of healthy ones."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, median, stdev
from typing import Any

from surefoot import kinds
from surefoot.bench.watched.fault import Fault
from surefoot.bench.watched.healthy import KINDS
from surefoot.bench.watched.streams import Stream
from surefoot.guard.monitor import Watch
from surefoot.records import Finding

Alarms = Callable[[Stream], list[Finding]]
Z95 = NormalDist().inv_cdf(0.975)
SHIFT = 0.5  # of the loss' deviation: a sudden fault that moves it by less did no harm


@dataclass(frozen=True, slots=True)
class Told:
    """What a guard said of one run."""

    kind: str
    half: str
    seed: int
    steps: int
    healthy: bool
    found: bool = False  # the right id, after the onset, in time
    latency_steps: int | None = None  # steps from the onset to it
    act_latency_steps: int | None = None  # steps from the onset to the first act of a right id
    wrong: str = ""  # the id of an earlier finding after the onset that named something else
    acts: tuple[str, ...] = ()  # act findings of a healthy run, or before the onset
    warns: tuple[str, ...] = ()
    healthy_steps: int = 0
    harmless: bool = (
        False  # the loss was to show it at once, and did not: nothing was there to find
    )


def ours(stream: Stream) -> list[Finding]:
    """Give what surefoot's monitors say."""
    at = stream.planned()
    facts = {**stream.facts, "recipe": stream.recipe, "planned": lambda step: at(step).lr}
    watch = Watch(stream.recipe.guard.monitors, facts)
    return [finding for record in stream.records for finding in watch.observe(record)]


def all_judged(streams: Sequence[Stream], alarms: Alarms = ours, named: bool = True) -> list[Told]:
    """Judge what was said of streams; each sick one beside the healthy run of its seed."""
    twins = {(s.half, s.seed): s for s in streams if s.kind == "plain"}
    return [judged(s, alarms, named, twins.get((s.half, s.seed))) for s in streams]


def judged(
    stream: Stream, alarms: Alarms = ours, named: bool = True, twin: Stream | None = None
) -> Told:
    """Judge what was said of one stream; a guard that names no trouble is right with any alarm."""
    findings = alarms(stream)
    last = stream.steps[-1].step
    if stream.kind in KINDS:
        return Told(
            stream.kind, stream.half, stream.seed, last, True, healthy_steps=last,
            acts=ids(findings, "act"), warns=ids(findings, "warn"),
        )  # fmt: skip
    fault: Fault = kinds.find("faults", stream.kind).FAULT
    before = [f for f in findings if f.step < fault.onset]
    after = [f for f in findings if f.step >= fault.onset and f.severity != "note"]
    right = [f for f in after if not named or f.id in fault.finds]
    late = [f.step - fault.onset for f in right]
    acts = [f.step - fault.onset for f in right if f.severity == "act"]
    first = min(late, default=None)
    wrong = [f.id for f in after if f not in right and (first is None or f.step < right[0].step)]
    return Told(
        stream.kind, stream.half, stream.seed, last, False,
        harmless=fault.sudden and twin is not None and shift(stream, twin, fault) < SHIFT,
        found=first is not None and first <= fault.within,
        latency_steps=first, act_latency_steps=min(acts, default=None), wrong=next(iter(wrong), ""),
        acts=ids(before, "act"), warns=ids(before, "warn"), healthy_steps=fault.onset - 1,
    )  # fmt: skip


def shift(stream: Stream, twin: Stream, fault: Fault) -> float:
    """Give by how many deviations the loss stands above the twin's, over the time to find it."""
    window = range(fault.onset, fault.onset + fault.within + 1)
    own = {s.step: s.ce for s in stream.steps if s.step in window}
    theirs = {s.step: s.ce for s in twin.steps if s.step in own}
    gaps = [own[step] - theirs[step] for step in theirs]
    if not all(map(math.isfinite, gaps)):
        return math.inf
    return fmean(gaps) / stdev(theirs.values())


def ids(findings: Iterable[Finding], severity: str) -> tuple[str, ...]:
    """Name the findings of one severity."""
    return tuple(f"{f.id}@{f.step}" for f in findings if f.severity == severity)


def wilson(hits: int, of: int) -> tuple[float, float]:
    """Give the 95% interval of a share (Wilson 1927)."""
    if not of:
        return 0.0, 1.0
    share, z2 = hits / of, Z95**2
    middle = (share + z2 / (2 * of)) / (1 + z2 / of)
    half = Z95 * math.sqrt(share * (1 - share) / of + z2 / (4 * of * of)) / (1 + z2 / of)
    return max(0.0, middle - half), min(1.0, middle + half)


def poisson_bound(seen: int, steps: int) -> float:
    """Give the one-sided 95% upper bound of a rate, per 10,000 steps (exact)."""
    low, high = 0.0, seen + 10.0 + 5.0 * math.sqrt(seen + 1.0)
    for _ in range(60):
        mean = (low + high) / 2
        below = sum(math.exp(-mean + k * math.log(mean) - math.lgamma(k + 1)) for k in
                    range(seen + 1))  # fmt: skip
        low, high = (mean, high) if below > 0.05 else (low, mean)
    return 1e4 * high / steps if steps else math.inf


def summed(told: Sequence[Told]) -> dict[str, Any]:
    """Add up what was said of many runs."""
    sick = [one for one in told if not one.healthy and not one.harmless]
    well = [one for one in told if one.healthy]
    hits = sum(one.found for one in sick)
    low, high = wilson(hits, len(sick))
    # a sick run is a healthy one until its onset
    steps = sum(one.healthy_steps for one in told)
    acts, warns = sum(len(one.acts) for one in told), sum(len(one.warns) for one in told)
    late = [one.latency_steps or 0 for one in sick if one.found and sudden(one.kind)]
    return {
        "sick": len(sick),
        "harmless": sum(one.harmless for one in told),
        "found": hits,
        "rate": hits / len(sick) if sick else None,
        "rate_low": low,
        "rate_high": high,
        "wrong": sum(bool(one.wrong) for one in sick),
        "latency_median_steps": median(late) if late else None,
        "latency_max_steps": max(late, default=None),
        "healthy": len(well),
        "healthy_steps": steps,
        "acts": acts,
        "warns": warns,
        "acts_per_10k": 1e4 * acts / steps if steps else None,
        "acts_bound": poisson_bound(acts, steps),
        "warns_per_10k": 1e4 * warns / steps if steps else None,
    }


def sudden(kind: str) -> bool:
    """Say whether the loss shows a fault at once."""
    return kinds.find("faults", kind).FAULT.sudden


def by_kind(told: Sequence[Told]) -> Mapping[str, list[Told]]:
    """Group by kind, in order."""
    found: dict[str, list[Told]] = {}
    for one in sorted(told, key=lambda one: (one.healthy, one.kind, one.seed)):
        found.setdefault(one.kind, []).append(one)
    return found
