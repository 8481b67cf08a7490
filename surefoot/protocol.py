"""How benches measure on a noisy machine: in pairs, in turns, as a ratio with its interval."""

import importlib.metadata
import os
import platform
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

RESAMPLES = 10_000
LOST = 0.05  # share of a side's wall that others may take before the pair is drawn again
LONGER = 3  # times as many pairs, at most, where the interval still holds the goal
Work = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Sample:
    """One timed call: wall and CPU seconds, and how often it was made to wait for others."""

    wall: float
    cpu: float
    switches: int

    @property
    def disturbed(self) -> bool:
        """Say whether others took more of its time than a pair may lose."""
        return self.switches > 0 and self.wall - self.cpu > LOST * self.wall


@dataclass(slots=True)
class Paired:
    """Two ways of doing one thing, timed in turns; `ratio` is how many times sooner a is done."""

    a: list[Sample] = field(default_factory=list[Sample])
    b: list[Sample] = field(default_factory=list[Sample])
    redrawn: int = 0

    @property
    def ratios(self) -> np.ndarray:
        """Give b's wall seconds over a's, pair by pair."""
        return np.array([b.wall / a.wall for a, b in zip(self.a, self.b, strict=True)])

    @property
    def ratio(self) -> float:
        """Give the median of the paired ratios."""
        return float(np.median(self.ratios))

    def interval(self) -> tuple[float, float]:
        """Give the 95% bootstrap interval of the median over pairs; drawn the same every time."""
        return interval(self.ratios)

    def row(self, case: str, goal: float | None = None) -> dict[str, Any]:
        """Give the line that a bench reports."""
        lo, hi = self.interval()
        return {
            "case": case,
            "a": float(np.median([s.wall for s in self.a])),
            "b": float(np.median([s.wall for s in self.b])),
            "ratio": self.ratio,
            "lo": lo,
            "hi": hi,
            "pairs": len(self.a),
            "redrawn": self.redrawn,
            "goal": goal,
            "verdict": verdict(lo, hi, goal),
        }

    def raw(self) -> dict[str, list[list[float]]]:
        """Give every sample as [wall, cpu, involuntary switches]."""
        return {
            side: [[s.wall, s.cpu, s.switches] for s in samples]
            for side, samples in (("a", self.a), ("b", self.b))
        }


def paired(a: Work, b: Work, warmup: int = 3, pairs: int = 9, goal: float | None = None) -> Paired:
    """Time two ways in turns (A B, B A, ...); goes on for longer while a goal is undecided."""
    for _ in range(warmup):
        a()
        b()
    told = Paired()
    draw(told, a, b, pairs)
    while goal is not None and len(told.a) < LONGER * pairs:
        if verdict(*told.interval(), goal) != "undecided":
            break
        draw(told, a, b, pairs)
    return told


def draw(told: Paired, a: Work, b: Work, pairs: int) -> None:
    """Add pairs; one that others disturbed is drawn again, up to twice as many in all."""
    spare = pairs
    wanted = len(told.a) + pairs
    while len(told.a) < wanted:
        first, second = (a, b) if (len(told.a) + told.redrawn) % 2 == 0 else (b, a)
        one, two = timed(first), timed(second)
        if spare and (one.disturbed or two.disturbed):
            spare -= 1
            told.redrawn += 1
            continue
        ours, theirs = (one, two) if first is a else (two, one)
        told.a.append(ours)
        told.b.append(theirs)


def timed(work: Work) -> Sample:
    """Time one call."""
    switches = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    took, used = time.perf_counter() - wall, time.process_time() - cpu
    more = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw - switches
    return Sample(wall=took, cpu=used, switches=more)


def interval(ratios: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """Give the 95% bootstrap interval of a median."""
    draws = np.random.default_rng(seed).integers(len(ratios), size=(RESAMPLES, len(ratios)))
    medians = np.median(ratios[draws], axis=1)
    lo, hi = np.percentile(medians, [2.5, 97.5])
    return float(lo), float(hi)


def verdict(
    lo: float, hi: float, goal: float | None
) -> Literal["met", "missed", "undecided"] | None:
    """Judge a goal by the interval: met if all of it is, missed if none."""
    if goal is None:
        return None
    return "met" if lo >= goal else ("missed" if hi < goal else "undecided")


def environment() -> dict[str, Any]:
    """Say what the figures were measured on; no name of the machine."""
    versions = {
        name: importlib.metadata.version(name)
        for name in ("torch", "numpy", "surefoot")
        if installed(name)
    }
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    return {
        "cores": os.cpu_count(),
        "affinity": affinity,
        "processor": processor(),
        "ram_gib": round(ram_bytes() / 2**30, 1),
        "load": list(os.getloadavg()),
        "governor": governor(),
        "python": platform.python_version(),
        "versions": versions,
        "environment": {
            name: os.environ[name]
            for name in (
                "OMP_NUM_THREADS",
                "OMP_WAIT_POLICY",
                "KMP_BLOCKTIME",
                "ONEDNN_MAX_CPU_ISA",
            )
            if name in os.environ
        },
    }


def installed(name: str) -> bool:
    """Say whether a package is installed, without importing it."""
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def processor() -> str:
    """Name the processor's model."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


def ram_bytes() -> int:
    """Count the machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def governor() -> str | None:
    """Name the processor's frequency policy, where the system tells it."""
    told = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return told.read_text(encoding="utf-8").strip() if told.exists() else None
