"""What a run looks like to a monitor: healthy ones here, one sick one a monitor in sick/<id>.py.

A file of sick/ has `trace()`, `ONSET` (the first sick step), `LATENCY` (steps in which it must be
found), and may have `ID` (of the finding, if not the file's name) and `FACTS` (beside those here).
"""

import importlib
import math
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from surefoot import kinds
from surefoot.recipe.schema import Recipe
from surefoot.records import Eval, Event, Finding, Record, Remedy, Step

LR = 0.02
STEPS = 2400
DECAY = 2000  # the last step before the decay
RECIPE = Recipe.model_validate({"train": {"steps": STEPS}, "model": {"vocab": 4096}})
FACTS: dict[str, Any] = {
    "recipe": RECIPE,
    "checkpoint_gib": 0.1,
    "unigram_entropy": 6.5,
    "bigram_entropy": 4.6,
    "corpus_tokens": 50_000_000,
    "world": 1,
}
KINDS = ("gauss", "t3", "exp", "lognormal", "ar.3", "ar.6")


def noise(kind: str, seed: int) -> Iterator[float]:
    """Draw noise of mean 0 and deviation 1 without end."""
    rng = random.Random(f"{kind}{seed}")
    last, memory = 0.0, float(kind[2:]) if kind.startswith("ar") else 0.0
    spread = math.exp(0.32) * math.sqrt(math.exp(0.64) - 1)
    while True:
        z = rng.gauss(0, 1)
        if kind == "t3":
            z /= math.sqrt(sum(rng.gauss(0, 1) ** 2 for _ in range(3)))
        elif kind == "exp":
            z = rng.expovariate(1) - 1
        elif kind == "lognormal":
            z = (math.exp(0.8 * z) - math.exp(0.32)) / spread
        elif memory:
            z = last = memory * last + math.sqrt(1 - memory * memory) * z
        yield z


def curve(step: int) -> float:
    """Give the loss of a small model that learns well."""
    return 2.2 + 6.1 * (step / 8 + 1) ** -0.45


def rate(step: int, steps: int = STEPS, decay: int = DECAY) -> float:
    """Give the rate that a plan of warm-up, plateau and decay sets."""
    if step <= decay:
        return LR * min(1.0, step / 100)
    u = (step - decay) / (steps - decay)
    return LR * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * u)))


def step(number: int, ce: float, **fields: Any) -> Step:
    """Make a healthy step with everything that steps can report."""
    rng = random.Random(number)  # each field has a little noise of its own
    probe = number % 10 == 0 or number == 1
    told: dict[str, Any] = {
        "loss": ce,
        "tokens": 2048 * number,
        "position": 8 * number,
        "batch_hash": f"{number:016x}",
        "valid_tokens": 2048,
        "lr": {"matrix": rate(number), "embedding": rate(number) / 4},
        "knobs": {"lr": rate(number) / LR, "momentum": 0.95},
        "grad_norm": 0.8 + 0.1 * rng.gauss(0, 1) + 2.0 * math.exp(-number / 60),
        "logit_max": 9.0,
        "logit_sat_share": 0.0,
        "step_s": 0.2 + 0.004 * rng.gauss(0, 1),
        "data_s": 0.001,
        "rss_mib": 900.0 + rng.random(),
        "disk_free_gib": 200.0 if probe else None,
        "t": 0.2 * number,
    }
    told["tok_per_s"] = 2048 / told["step_s"]
    if probe:
        told["layer_grad_norm"] = [0.4 + 0.02 * rng.gauss(0, 1) for _ in range(4)]
        told["layer_out_rms"] = [0.2 + 0.01 * rng.gauss(0, 1) for _ in range(4)]
        told["update_ratio"] = {"matrix": 1e-3, "embedding": 8e-4}
    return Step(step=number, ce=ce, **{**told, **fields})


def planned(number: int) -> dict[str, float]:
    """Give the planned rates, as a run's facts do."""
    return {"matrix": rate(number), "embedding": rate(number) / 4}


def run(steps: int = STEPS, sd: float = 0.07, seed: int = 0, kind: str = "gauss") -> list[Record]:
    """Give the steps of a run in which nothing happens but learning, and its decay."""
    drawn, found = noise(kind, seed), list[Record]()
    for number in range(1, steps + 1):
        decayed = 0.25 * max(0, number - DECAY) / (STEPS - DECAY)
        if number == DECAY + 1:
            found.append(Event(name="decay_start", step=number, planned=True))
        ce = curve(number) - decayed
        found.append(step(number, ce + sd * next(drawn)))
        if number % RECIPE.save.every == 0:
            found.append(Event(name="saved", step=number, args={"bytes": 1}))
            told = {"val_bpb": 1.0, "val_tokens": 30_000}
            found.append(Eval(step=number, val_ce=ce + 0.04, **told))
    return found


def changed(trace: list[Record], since: int, change: Any) -> list[Record]:
    """Replace each step from one on by what `change(step)` makes of it."""
    return [change(one) if isinstance(one, Step) and one.step >= since else one for one in trace]


def at(trace: list[Record], record: Record) -> list[Record]:
    """Put an event before its step, a remedy before the first step that it holds for."""
    first = record.at_step if isinstance(record, Remedy) else record.step
    index = next(i for i, one in enumerate(trace) if one.step >= first)
    return [*trace[:index], record, *trace[index:]]


def raised() -> list[Record]:
    """Give a run with two raises of a cutoff: spikes that pass, and come to a lower level."""

    def kicked(one: Step, begin: int) -> Step:
        up = 0.5 * math.exp(-(one.step - begin) / 40) - 0.1
        return replace(one, ce=one.ce + up, loss=one.loss + up)

    trace = run()
    for begin, low, high in ((800, 128, 256), (1400, 256, 512)):
        trace = changed(trace, begin, lambda one, begin=begin: kicked(one, begin))
        args = {"from": low, "to": high}
        trace = at(trace, Event(name="cutoff_raised", step=begin, args=args, planned=True))
    return trace


def grown() -> list[Record]:
    """Give a run whose windows grow in stairs."""
    trace = run(seed=1)
    for stair, begin in enumerate(range(170, 1900, 170)):
        args = {"from": 128 * (stair + 1), "to": 128 * (stair + 2)}
        trace = at(trace, Event(name="window_raised", step=begin, args=args, planned=True))
    return trace


def restarted() -> list[Record]:
    """Give a run whose rate restarts, so that it gives up what a lower rate had bought."""

    def gain(one: Step) -> Step:
        bought = 0.15 * (one.step - 600) / 400 if one.step < 1000 else -0.02
        return replace(one, ce=one.ce - bought, loss=one.loss - bought)

    trace = changed(run(seed=2), 600, gain)
    return at(trace, Event(name="lr_restart", step=1000, planned=True))


def interrupted() -> list[Record]:
    """Give a run with one step that was not finite, and one far outlier."""
    trace: list[Record] = []
    for one in run(seed=3):
        if isinstance(one, Step) and one.step == 700:
            fields: dict[str, Any] = {"skipped": True, "nonfinite": {"loss": 1}}
            one = replace(one, loss=math.nan, ce=math.nan, grad_norm=math.inf, **fields)
        elif isinstance(one, Step) and one.step == 1100:
            one = replace(one, loss=one.loss + 5, ce=one.ce + 5)
        trace.append(one)
    return trace


HEALTHY = {
    "plain": run,
    "raised": raised,
    "grown": grown,
    "restarted": restarted,
    "interrupted": interrupted,
}


def sick(name: str) -> Any:
    """Import a monitor's sick trace."""
    return importlib.import_module(f"tests.guard.sick.{name}")


def facts(name: str = "") -> dict[str, Any]:
    """Give what monitors are told, and what a sick trace adds."""
    more = getattr(sick(name), "FACTS", {}) if name else {}
    return {**FACTS, "planned": planned, **more}


def monitor(name: str, told: dict[str, Any] | None = None, **options: Any) -> Any:
    """Make a monitor."""
    module = kinds.find("monitors", name)
    chosen = module.Options.model_validate(options)
    return module.Monitor(chosen, facts() if told is None else told)


def watched(watcher: Any, trace: list[Record]) -> list[tuple[int, Finding]]:
    """Show a trace to a monitor, and give its findings with the steps that they came at."""
    return [(one.step, finding) for one in trace for finding in watcher.observe(one)]
