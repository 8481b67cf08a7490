"""Measures a plan before it starts: threads, time and memory of real steps on a scratch learner."""

import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from surefoot.data.dataset import Dataset
from surefoot.guard.situation import Forecast
from surefoot.learn.advance import advance
from surefoot.learn.learner import Learner
from surefoot.learn.threads import set_threads, time_threads
from surefoot.model.batch import Batch
from surefoot.plan.plan import Plan
from surefoot.plan.shape import shape
from surefoot.recipe.schema import Recipe
from surefoot.run.device import cores, device_of
from surefoot.run.forecast import disk_gib, mem_gib, roofline_s
from surefoot.run.memory import available_gib, disk_free_gib, peak_rss_mib
from surefoot.run.opening import make_learner

WARM = 2  # steps that allocate and import
TIMED = WARM + 5
PATIENCE_S = 4.0


@dataclass(frozen=True, slots=True)
class Timed:
    """What real steps of a scratch learner took, seconds."""

    threads: int
    micro_s: float
    low_s: float
    high_s: float
    update_s: float
    peak_mib: float


def measure(recipe: Recipe, dataset: Dataset) -> Timed:
    """Time micro-steps with each number of threads that could be best; nothing of it stays."""
    device = device_of(recipe.train.device)
    fork = torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])
    with fork:
        learner = make_learner(recipe)
        batch = first_micro(recipe, dataset)
        plan = Plan(recipe)
        threads = recipe.train.threads or best_threads(learner, batch, plan, device)
        if device.type == "cpu":
            set_threads(threads)
        forward, updates = steps(learner, batch, plan)
    return Timed(
        threads=threads if device.type == "cpu" else 0,
        micro_s=statistics.median(forward),
        low_s=min(forward),
        high_s=max(forward),
        update_s=statistics.median(updates),
        peak_mib=peak_mib(device),
    )


def first_micro(recipe: Recipe, dataset: Dataset) -> Batch:
    """Take the rows of one micro-batch from the run's first step."""
    whole = dataset.batch(1)
    part = next(whole.micro(recipe.train.batch))
    valid = int((part.targets >= 0).sum())
    return Batch(part.tokens, part.targets, part.doc, part.positions, valid=max(1, valid))


def best_threads(learner: Learner, batch: Batch, plan: Plan, device: torch.device) -> int:
    """Choose between one thread and all cores by the clock."""
    if device.type != "cpu" or cores() == 1:
        return 1
    last = plan.at(plan.span.steps)
    advance(learner, batch, last)  # the first step imports and allocates
    took = time_threads(lambda: advance(learner, batch, last), [1, cores()])
    return min(took, key=lambda count: (took[count], count))


def steps(learner: Learner, batch: Batch, plan: Plan) -> tuple[list[float], list[float]]:
    """Time whole steps at the plan's first and last knobs, split into micro-batch and update."""
    forward: list[float] = []
    updates: list[float] = []
    began = time.monotonic()
    while len(forward) < TIMED or time.monotonic() - began < PATIENCE_S / 8:
        knobs = plan.at(plan.span.steps if len(forward) % 2 else 1)
        report = advance(learner, batch, knobs)
        forward.append((report.forward_s or 0.0) + (report.backward_s or 0.0))
        updates.append(report.update_s or 0.0)
        if len(forward) > WARM and time.monotonic() - began > PATIENCE_S:
            break
    return forward[WARM:], updates[WARM:]


def peak_mib(device: torch.device) -> float:
    """Give the most memory used so far."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return peak_rss_mib()


def forecast(
    recipe: Recipe, dataset: Dataset | None, folder: Path, timed: Timed | None
) -> Forecast:
    """Say what the plan will cost."""
    from surefoot.model.facts import forecast_parameters

    train = recipe.train
    parameters = forecast_parameters(recipe.model, shape(recipe))
    tokens = train.steps * train.batch * train.accumulate * train.seq_len
    mem = mem_gib(recipe, parameters)
    low = high = seconds = roofline_s(recipe, parameters)
    if timed is not None:
        seconds = run_seconds(recipe, timed, timed.micro_s, dataset)
        low = run_seconds(recipe, timed, timed.low_s, dataset)
        high = run_seconds(recipe, timed, timed.high_s, dataset)
        mem = max(mem, timed.peak_mib / 1024)
    return Forecast(
        parameters=parameters,
        mem_gib=round(mem, 3),
        mem_free_gib=round(free_gib(recipe), 3),
        seconds=round(seconds, 1),
        seconds_low=round(low, 1),
        seconds_high=round(high, 1),
        disk_gib=round(disk_gib(recipe, parameters), 4),
        disk_free_gib=disk_free_gib(folder),
        tokens=tokens,
        source="timed" if timed is not None else "roofline",
    )


def run_seconds(recipe: Recipe, timed: Timed, micro_s: float, dataset: Dataset | None) -> float:
    """Add up steps, validations, samples and saves."""
    train, val = recipe.train, recipe.val
    step = train.accumulate * micro_s + timed.update_s
    evals = (train.steps // val.every if val.every else 0) + 1
    limit = val.batches * train.batch * train.seq_len or 100_000
    val_tokens = min(limit, dataset.val_tokens if dataset is not None else limit)
    # a forward pass is about a third of a step; a sampled token costs a pass of its own
    eval_s = val_tokens / (train.batch * train.seq_len) * micro_s / 2.5
    sample_s = len(val.prompts) * 2 * 48 * 0.002
    return train.steps * step + evals * (eval_s + sample_s)


def steps_in(recipe: Recipe, timed: Timed, dataset: Dataset) -> int:
    """Turn minutes into steps."""
    assert recipe.train.minutes is not None, "steps are given"
    target = recipe.train.minutes * 60
    step = recipe.train.accumulate * timed.micro_s + timed.update_s
    guess = max(1, round(target / step))
    for _ in range(6):  # validations take their share, which depends on the steps
        train = recipe.train.model_copy(update={"steps": guess})
        total = run_seconds(
            recipe.model_copy(update={"train": train}), timed, timed.micro_s, dataset
        )
        guess = max(1, round(guess * target / total))
    return guess


def free_gib(recipe: Recipe) -> float:
    """Give the memory that there is on the device."""
    device = device_of(recipe.train.device)
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] / 2**30
    return available_gib()
