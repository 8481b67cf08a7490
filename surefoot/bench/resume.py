"""Takes a finished run to a longer plan in each way that there is, beside the long plan afresh.

Goal: the branch from before the decay ends no worse than the run that is trained afresh with the
longer plan (with the same warm-up it is that run, bit by bit); the other ways have none. A small
model of Python's own library is trained to the end of its decay; each way goes on from a copy of
that run's folder. In a row a is the way's last val ce and b the fresh run's, lo and hi the range of
b / a over seeds, all other figures medians. Runs are watched in advise mode: findings are told, and
nothing is done.
"""

import argparse
import contextlib
import io
import itertools
import json
import shlex
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from surefoot.errors import Problem, RunError, UsageError
from surefoot.library import Past, train
from surefoot.protocol import environment, verdict
from surefoot.records import MEASURED, Eval, Finding, Step, row
from surefoot.show.recipe_lines import toml

GOAL = 1.0
RECIPE = "starter"
SEEDS = 3
STEPS = (1000, 1600)
CHANGES: dict[str, Any] = {
    "model.dim": 64, "model.layers": 2, "model.heads": 2, "model.kv_heads": 1,
    "model.ffn.width": 192, "data.tokenizer.vocab": 1024, "train.batch": 8, "train.seq_len": 64,
    "train.threads": 1, "knobs.lr.warmup": 100, "knobs.lr.decay_share": 0.2,
    "val.every": 200, "val.prompts": [], "guard.mode": "advise",
}  # fmt: skip
QUICK_STEPS = (200, 440)
QUICK: dict[str, Any] = {
    "data.corpus.limit_mib": 1, "train.batch": 2, "knobs.lr.warmup": 20, "val.every": 200,
}  # fmt: skip
WAYS: dict[str, dict[str, Any]] = {
    "branch": {"resume_lr": "branch"},
    "ramp": {"resume_lr": "ramp"},
    "ramp100": {"resume_lr": "ramp=100"},
    "peak": {"resume_lr": "peak"},
    "jump": {"accept": ("lr_jump",)},
}
SHORT, LONG = 20, 50  # steps of a block: of the loss, and of the gradient as its monitor has it
WITHIN = 200  # steps after a resume in which the loss is looked at closely
COLUMNS = (
    *("case", "a", "ratio", "lo", "hi", "again", "lr_ratio", "ce_before", "ce_after"),
    *("ce_highest", "grad_before", "grad_highest", "said"),
)
SHARED = MEASURED | {"generation"}  # what two runs of equal steps may differ in


@dataclass(frozen=True, slots=True)
class Leg:
    """What one way did from where it went on; losses are training ce, nats a token."""

    way: str
    seed: int
    start: int  # the step whose checkpoint it went on from
    trained: int  # steps
    again: int  # of those, steps that the finished run had done too
    cpu_s: float
    lr_ratio: float  # of the first step over the last, the role with the largest
    lr_steepest: float  # largest growth from one step to the next, the first included
    ce_before: float
    ce_after: float
    ce_highest: float  # block within the first 200 steps
    beside_first: float  # less the fresh run's on the same batches: first block of those 200,
    beside_last: float  # and the last
    val: dict[int, float]  # by step, the start included
    val_ce: float
    grad_before: float
    grad_highest: float
    like_finished: int  # leading steps equal to the finished run's, number for number
    like_fresh: int
    same_weights: bool  # as the fresh run's, at the end
    said: list[str]


def options(parser: argparse._ArgumentGroup) -> None:
    """Take what this bench adds."""
    add = parser.add_argument
    add("--seeds", type=int, default=SEEDS, help=f"seeds 0, 1, ... ({SEEDS})")
    add("--runs", metavar="DIR", help="keep the run folders there, to look at")


def run(quick: bool = False, repeat: int = 1, **own: Any) -> dict[str, Any]:
    """Train all runs of all seeds, one after another, and give a row a way."""
    seeds = seeds_of(own, quick, repeat)
    short, long = QUICK_STEPS if quick else STEPS
    changes = {**CHANGES, **(QUICK if quick else {})}
    legs: list[Leg] = []
    bought: list[dict[str, Any]] = []
    threads = torch.get_num_threads()
    try:
        with home(own.get("runs")) as folder:
            for seed in range(seeds):
                trial = Trial({**changes, "train.seed": seed}, short, long, folder / f"seed{seed}")
                legs += trial.legs(seed)
                bought.append({"seed": seed, **trial.decay()})
    finally:
        torch.set_num_threads(threads)
    told = [*WAYS, "fresh"]
    return {
        "name": "resume",
        "quick": quick,
        "settings": {**environment(), "recipe": RECIPE, "changes": changes, "steps": [short, long]},
        "commands": commands(changes, short, long),
        "columns": COLUMNS,
        "decay": bought,
        "rows": [summed(way, [leg for leg in legs if leg.way == way], legs) for way in told],
        "legs": [asdict(leg) for leg in legs],
    }


def seeds_of(own: Mapping[str, Any], quick: bool, repeat: int) -> int:
    """Count the seeds, and see that the folders to keep their runs in are free."""
    asked = int(own.get("seeds", SEEDS))
    if asked < 1:
        raise UsageError(Problem("--seeds", f"{asked}", "one at least", f"Write {SEEDS}"))
    seeds = 1 if quick else asked * repeat
    for seed in range(seeds if own.get("runs") else 0):
        if (folder := Path(own["runs"]) / f"seed{seed}").exists():
            why = f"{folder} is there already"
            raise UsageError(Problem("--runs", own["runs"], why, "Write a folder that is new"))
    return seeds


@contextlib.contextmanager
def home(asked: str | None) -> Iterator[Path]:
    """Give the folder of all runs: one that is asked for stays."""
    if asked:
        yield Path(asked)
        return
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


class Trial:
    """One seed's runs: the finished one, the long plan afresh, and each way from the finished."""

    def __init__(self, changes: Mapping[str, Any], short: int, long: int, folder: Path) -> None:
        self.folder, self.short, self.long = folder, short, long
        self.used: dict[str, float] = {}  # CPU seconds of each run
        self.finished = Log(self.begun(changes, short, "finished"))
        self.fresh = Log(self.begun(changes, long, "fresh"))

    def begun(self, changes: Mapping[str, Any], steps: int, name: str) -> Past:
        """Train from the first step."""
        return self.trained(
            name, RECIPE, {**changes, "train.steps": steps}, {"run": self.folder / name}
        )

    def gone_on(self, way: str) -> Past:
        """Go on with a copy of the finished run in one way."""
        copy = self.folder / way
        shutil.copytree(self.folder / "finished", copy, symlinks=True)
        asked = {"named": False, "resume": str(copy), **WAYS[way]}
        return self.trained(way, RECIPE, {"train.steps": self.long}, asked)

    def trained(
        self, name: str, what: str, changes: Mapping[str, Any], asked: Mapping[str, Any]
    ) -> Past:
        """Train to the end, and say in a line that it is done."""
        began = time.process_time()
        with contextlib.redirect_stderr(io.StringIO()):  # of 18 runs the same four notes each
            run = train(what, changes, timed=False, **asked)
        self.used[name] = time.process_time() - began
        if run.status["state"] != "finished":
            raise RunError(unfinished(run), exit=run.status["exit"])
        told = f"{run.folder.parent.name}  {name:<8}  val ce {run.status['val_ce']:.4f}"
        print(f"{told}  {self.used[name]:.0f} CPU s", file=sys.stderr, flush=True)
        return run

    def legs(self, seed: int) -> Iterator[Leg]:
        """Go on in each way, and measure it; the fresh run stands beside them."""
        for way in WAYS:
            log = Log(self.gone_on(way))
            yield self.leg(way, seed, log, log.start or self.short)
        yield self.leg("fresh", seed, self.fresh, self.short)

    def leg(self, way: str, seed: int, log: "Log", start: int) -> Leg:
        """Measure a run from a step on."""
        first = 0 if way == "fresh" else start
        growth = growths(log, start, self.long)
        closely = [
            log.level(s, SHORT) for s in blocks(start, min(start + WITHIN, self.long), SHORT)
        ]
        grads = [log.level(s, LONG, "grad_norm") for s in blocks(start, self.long, LONG)]
        return Leg(
            way=way,
            seed=seed,
            start=first,
            trained=self.long - first,
            again=self.short - first,
            cpu_s=self.used[way],
            lr_ratio=growth[0],
            lr_steepest=max(growth),
            ce_before=log.level(start, SHORT),
            ce_after=closely[0],
            ce_highest=max(closely),
            beside_first=beside(log, self.fresh, start + SHORT),
            beside_last=beside(log, self.fresh, start + WITHIN),
            val={step: ce for step, ce in sorted(log.val.items()) if step >= start},
            val_ce=log.val[self.long],
            grad_before=log.level(start, LONG, "grad_norm"),
            grad_highest=max(grads),
            like_finished=alike(log, self.finished),
            like_fresh=alike(log, self.fresh),
            same_weights=log.weights() == self.fresh.weights(),
            said=log.said(start),
        )

    def decay(self) -> dict[str, Any]:
        """Say what the decay bought: against the last step at the peak, and the peak held on."""
        peak = self.finished.run.plan.pre_decay() or 0
        before, after = self.finished.val.get(peak), self.finished.val[self.short]
        held = self.fresh.val[self.short]  # as many steps on the same batches, still at the peak
        return {
            "val_ce_at_peak": before,  # not measured in a quick look
            "val_ce": after,
            "val_ce_peak_held": held,
            "gain_share": 1 - after / before if before else None,
            "gain_share_against_held": 1 - after / held,
            "cpu_s": self.used["finished"],
            "said": self.finished.said(0),
        }


class Log:
    """A run's journal, as this bench reads it: of a step that was done again the last counts."""

    def __init__(self, run: Past) -> None:
        self.run = run
        records = list(run.journal)
        self.steps = {r.step: r for r in records if isinstance(r, Step)}
        self.val = {r.step: r.val_ce for r in records if isinstance(r, Eval)}
        resumed = [r.step for r in records if getattr(r, "name", "") == "resumed"]
        self.start = resumed[-1] if resumed else 0
        generation = max(step.generation for step in self.steps.values())
        self.findings = [
            r
            for r in records
            if isinstance(r, Finding) and r.source != "rule" and r.generation == generation
        ]

    def level(self, end: int, steps: int, name: str = "ce") -> float:
        """Give the median of the last steps up to one."""
        return statistics.median(
            getattr(self.steps[step], name) for step in range(end - steps + 1, end + 1)
        )

    def said(self, start: int) -> list[str]:
        """Name what the monitors said after a step, a line each."""
        later = [finding for finding in self.findings if finding.step > start]
        return [f"{one.id} {one.severity} at {one.step}" for one in later]

    def weights(self) -> str:
        """Give the hash of the last weights."""
        manifest = self.run.folder / "final" / "manifest.json"
        return json.dumps(json.loads(manifest.read_bytes())["files"]["model.safetensors"])


def commands(changes: Mapping[str, Any], short: int, long: int) -> list[str]:
    """Write what a person would type for the same runs of one seed."""
    told = [shlex.quote(f"{key}={toml(value)}") for key, value in changes.items()]
    begun = " ".join(["surefoot train", RECIPE, *told, "train.seed=0"])
    lines = [f"{begun} train.steps={n} --run {name}"
             for name, n in (("finished", short), ("fresh", long))]  # fmt: skip
    for way, asked in WAYS.items():
        how = "--accept lr_jump" if "accept" in asked else f"--resume-lr {asked['resume_lr']}"
        lines.append(f"cp -r finished {way}")
        lines.append(f"surefoot train --resume {way} train.steps={long} {how}")
    return lines


def unfinished(run: Past) -> Problem:
    """Say that a run did not come to its end."""
    why = f"it ended {run.status['state']} at step {run.status['step']} ({run.status['reason']})"
    return Problem(run.folder.name, "", why, "Begin the bench anew")


def growths(log: Log, start: int, end: int) -> list[float]:
    """Give how much the rate grew at each step after a start, the role that grew most."""
    pairs = itertools.pairwise(log.steps[step].lr for step in range(start, end + 1))
    return [max(after[role] / before[role] for role in after) for before, after in pairs]


def blocks(start: int, end: int, size: int) -> list[int]:
    """Give the last steps of the whole blocks between two steps."""
    return list(range(start + size, end + 1, size))


def beside(log: Log, other: Log, end: int) -> float:
    """Give by how much a block's loss stands above another run's on the very same batches."""
    steps = range(end - SHORT + 1, end + 1)
    return statistics.median(log.steps[step].ce - other.steps[step].ce for step in steps)


def alike(log: Log, other: Log) -> int:
    """Count the leading steps that two runs share, number for number."""
    both = zip(log.steps.values(), other.steps.values(), strict=False)
    return sum(1 for _ in itertools.takewhile(lambda two: bare(two[0]) == bare(two[1]), both))


def bare(step: Step) -> dict[str, Any]:
    """Give a step's report without what the clock, the machine or a branch puts into it."""
    return {name: value for name, value in row(step).items() if name not in SHARED}


def summed(way: str, legs: Sequence[Leg], every: Sequence[Leg]) -> dict[str, Any]:
    """Sum up one way over the seeds, against the fresh run of each seed."""
    fresh = [leg.val_ce for leg in every if leg.way == "fresh"]
    ratios = [b / leg.val_ce for b, leg in zip(fresh, legs, strict=True)]
    goal = GOAL if way == "branch" else None
    numbers = (
        *("trained", "again", "cpu_s", "lr_ratio", "lr_steepest", "ce_before", "ce_after"),
        *("ce_highest", "beside_first", "beside_last", "grad_before", "grad_highest"),
        *("like_finished", "like_fresh"),
    )
    each = {name: [float(getattr(leg, name)) for leg in legs] for name in numbers}
    times = Counter(line for leg in legs for line in {" ".join(s.split()[:2]) for s in leg.said})
    return {
        "case": way,
        "a": statistics.median(leg.val_ce for leg in legs),
        "b": statistics.median(fresh),
        "ratio": statistics.median(ratios),
        "lo": min(ratios),
        "hi": max(ratios),
        "pairs": len(legs),
        "redrawn": 0,
        "goal": goal,
        "verdict": verdict(min(ratios), max(ratios), goal),
        **{name: statistics.median(values) for name, values in each.items()},
        "ranges": {name: [min(values), max(values)] for name, values in each.items()},
        "same_weights": all(leg.same_weights for leg in legs),
        "said": ", ".join(f"{line} {n}/{len(legs)}" for line, n in sorted(times.items())) or "-",
    }
