"""Trains tiny runs, sick and healthy, and scores the guard on what their journals say.

Goals, on the half that no constant was chosen by: at least 95% of sick runs found, at most 1 false
act in 10,000 healthy steps (95% bound), half of the sudden faults found within 16 steps, and in act
mode at least 80% of the curable runs ending within 2% of their healthy twin. `--rescore FOLDER`
judges streams that are kept (tests/data/streams) in seconds; without it all are trained anew.
"""

import argparse
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from surefoot import kinds
from surefoot.bench.watched import acting, baselines, scoring, streams, tables
from surefoot.bench.watched.halves import FIRST_SEED, Half
from surefoot.bench.watched.healthy import KINDS
from surefoot.bench.watched.recording import recorded
from surefoot.errors import Problem, UsageError

FOUND, FALSE_ACTS, LATENCY, RECOVERED = 0.95, 1.0, 16.0, 0.8
SEEDS = {"training": (1, 1), "held_out": (4, 5)}  # of each sick kind, of each healthy kind
QUICK = ("plain", "scrambled", "nan")
HERE = Path("bench-results") / "guard"


@dataclass(frozen=True, slots=True)
class Job:
    """One run to train."""

    kind: str
    half: Half
    seed: int
    act: bool = False  # answered by the playbook, instead of recorded

    @property
    def file(self) -> str:
        """Name what it leaves behind."""
        return f"{'act-' * self.act}{self.half}-{self.kind}-{self.seed}.json"


def options(parser: argparse._ArgumentGroup) -> None:
    """Take what this bench adds."""
    add = parser.add_argument
    add("--rescore", metavar="FOLDER", help="judge the streams kept there, and train nothing")
    add("--workers", type=int, default=1, help="runs trained at a time, one thread each (1)")
    add("--half", choices=("training", "held_out", "both"), default="both", help="(both)")
    add("--kinds", default="", metavar="A,B", help="some kinds of run only")


def run(quick: bool = False, repeat: int = 1, **own: Any) -> dict[str, Any]:
    """Train or read the streams, judge them, and give the rows."""
    if own.get("rescore"):
        folder = Path(own["rescore"])
        found = streams.kept(folder)
        acted = acting.kept(folder)
        if not found:
            raise UsageError(
                Problem("--rescore", str(folder), "no streams are kept there",
                        "Write a folder of KIND.jsonl.xz, as this bench leaves them")
            )  # fmt: skip
    else:
        jobs = [job for job in planned(quick, repeat) if wanted(job, own)]
        train(jobs, int(own.get("workers", 1)))
        found, acted = gathered(jobs)
        acted = acting.paired(acted)
        streams.keep(HERE / "streams", found)
        acting.keep(HERE / "streams", acted)
    told = scoring.all_judged(found)
    others = {
        name: scoring.all_judged(found, baselines.latched(rule), named=False)
        for name, rule in baselines.RULES.items()
    }
    text = tables.page(told, others, acted)
    HERE.mkdir(parents=True, exist_ok=True)
    (HERE / "guard.md").write_text(text, encoding="utf-8")
    return {
        "rows": rows(told, acted),
        "halves": {half: scoring.summed([t for t in told if t.half == half]) for half in SEEDS},
        "others": {
            name: scoring.summed([t for t in judged if t.half == "held_out"])
            for name, judged in others.items()
        },
        "runs": [asdict(one) for one in told],
        "acted": [asdict(one) for one in acted],
        "page": str(HERE / "guard.md"),
    }


def planned(quick: bool, repeat: int) -> Iterator[Job]:
    """List the runs of a whole bench; a quick one has three of each half's first seed."""
    halves: tuple[Half, ...] = ("training", "held_out")
    for half in halves:
        sick, healthy = (1, 1) if quick else SEEDS[half]
        first = FIRST_SEED[half]
        for kind in (*kinds.names("faults"), *KINDS):
            if quick and kind not in QUICK:
                continue
            count = (healthy if kind in KINDS else sick) * repeat
            for seed in range(first, first + count):
                yield Job(kind, half, seed)
                if half == "held_out" and acting.wanted(kind, seed - first):
                    yield Job(kind, half, seed, act=True)


def wanted(job: Job, own: dict[str, Any]) -> bool:
    """Say whether a run is among those asked for."""
    names = [name for name in str(own.get("kinds") or "").split(",") if name]
    return own.get("half", "both") in ("both", job.half) and (not names or job.kind in names)


def train(jobs: list[Job], workers: int) -> None:
    """Train what is not there yet: a bench that was interrupted goes on."""
    left = [job for job in jobs if not (HERE / "runs" / job.file).is_file()]
    left.sort(key=lambda job: job.act)
    (HERE / "runs").mkdir(parents=True, exist_ok=True)
    if workers <= 1:
        for job in left:
            done(job)
        return
    import multiprocessing

    os.environ["OMP_NUM_THREADS"] = "1"
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for _ in pool.imap_unordered(done, left):
            pass


def done(job: Job) -> None:
    """Train one run and write what it left."""
    if job.act:
        told: Any = asdict(acting.acted(job.kind, job.half, job.seed))
    else:
        told = streams.packed(recorded(job.kind, job.half, job.seed))
    path = HERE / "runs" / job.file
    text = json.dumps(told, allow_nan=False)
    path.with_suffix(".tmp").write_text(text, encoding="utf-8")
    path.with_suffix(".tmp").replace(path)


def gathered(jobs: list[Job]) -> tuple[list[streams.Stream], list[acting.Acted]]:
    """Read what the runs left."""
    found: list[streams.Stream] = []
    acted: list[acting.Acted] = []
    for job in jobs:
        told = json.loads((HERE / "runs" / job.file).read_text(encoding="utf-8"))
        if job.act:
            acted.append(acting.Acted(**told))
        else:
            found.append(streams.unpacked(told))
    return found, acted


def rows(told: list[scoring.Told], acted: list[acting.Acted]) -> list[dict[str, Any]]:
    """Give the goals and what was reached; of the held-out half alone."""
    own = scoring.summed([one for one in told if one.half == "held_out"])
    found = [
        row("sick runs found", own["rate"], FOUND, own["sick"]),
        row("false acts in 10,000 steps, bound", own["acts_bound"], -FALSE_ACTS, own["healthy"]),
        row("steps to a sudden fault, median", own["latency_median_steps"], -LATENCY, own["found"]),
    ]
    found[0] |= {"lo": own["rate_low"], "hi": own["rate_high"]}
    if cured := [one for one in acted if one.curable]:
        saved = sum(one.recovered for one in cured)
        low, high = scoring.wilson(saved, len(cured))
        share = row("curable runs recovered", saved / len(cured), RECOVERED, len(cured))
        found.append(share | {"lo": low, "hi": high})
    return found


def row(case: str, value: float | None, goal: float, runs: int) -> dict[str, Any]:
    """Give one line: the figure itself is judged; a goal below 0 is one not to be exceeded."""
    met = value is not None and (value >= goal if goal > 0 else value <= -goal)
    return {
        "case": case,
        "ratio": value,
        "pairs": runs,
        "goal": abs(goal),
        "verdict": "met" if met else "missed",
    }
