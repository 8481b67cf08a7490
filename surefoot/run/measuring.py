"""Measures a plan before it starts: threads, time and memory of real steps on a scratch learner."""

import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from surefoot.data.dataset import Dataset
from surefoot.guard.situation import Forecast
from surefoot.learn.advance import advance
from surefoot.learn.learner import Learner
from surefoot.learn.oom import OutOfMemory, smaller
from surefoot.learn.threads import set_threads
from surefoot.model.batch import Batch
from surefoot.plan.plan import Plan
from surefoot.plan.shape import shape
from surefoot.recipe.schema import Recipe
from surefoot.run.device import cores, device_of, is_here
from surefoot.run.forecast import (
    batch_mem_gib,
    checkpoint_gib,
    disk_gib,
    mem_gib,
    muon_share,
    roofline_s,
)
from surefoot.run.launched import Place
from surefoot.run.memory import available_gib, disk_free_gib, peak_rss_mib, reset_peak_rss, rss_mib
from surefoot.run.opening import make_learner

ALONE = Place()
ROUNDS = 5  # timed steps with each number of threads, where they are short
PATIENCE_S = 2.5  # where they are long, two of each are enough; so is one of this length


@dataclass(frozen=True, slots=True)
class Timed:
    """What real steps of a scratch learner took, seconds, and the memory they needed."""

    threads: int  # 0 where the device has its own
    micro_s: float
    low_s: float
    high_s: float
    update_s: float
    base_mib: float  # of the process before any of it
    peak_mib: float
    ranks: int = 1  # that share a step's micro-batches


def measure(recipe: Recipe, dataset: Dataset, place: Place = ALONE) -> Timed:
    """Time steps with each number of threads that could be best; nothing of it stays."""
    device = device_of(recipe.train.device)
    fork = torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])
    with fork:
        reset_peak(device)
        base = rss_mib()
        learner = make_learner(recipe)
        batch = first_micro(recipe, dataset)
        plan = Plan(recipe)
        most = max(1, cores() // place.local_world)
        threads = recipe.train.threads if device.type != "cpu" else recipe.train.threads or most
        if device.type == "cpu":
            set_threads(threads)
        reports: list[Any] = [first_step(learner, batch, plan)]
        if spent(reports[0]) < PATIENCE_S:
            free = device.type == "cpu" and not recipe.train.threads
            choices = sorted({1, most}) if free else [threads]
            told = steps(learner, batch, plan, choices)
            threads = best(told)
            reports = told[threads]
        peak = peak_mib(device)
    micro = [report.forward_s + report.backward_s for report in reports]
    return Timed(
        threads=threads,
        micro_s=statistics.median(micro),
        low_s=min(micro),
        high_s=max(micro),
        update_s=statistics.median(report.update_s for report in reports),
        base_mib=base,
        peak_mib=peak,
        ranks=place.world,
    )


def first_step(learner: Learner, batch: Batch, plan: Plan) -> Any:
    """Make one step, with fewer rows at once where memory runs out and the recipe allows it."""
    while True:
        try:
            return advance(learner, batch, plan.at(plan.span.steps))
        except OutOfMemory as error:
            rows = smaller(learner.micro_rows)
            if learner.train.on_oom != "split" or not rows or not error.whole:
                raise
            learner.micro_rows = rows


def first_micro(recipe: Recipe, dataset: Dataset) -> Batch:
    """Take the rows of one micro-batch from the run's first step."""
    part = next(dataset.batch(1).micro(recipe.train.batch))
    return replace(part, valid=max(1, int((part.targets >= 0).sum())))


def spent(report: Any) -> float:
    """Give the seconds of a step's own work."""
    return report.forward_s + report.backward_s + report.update_s


def steps(learner: Learner, batch: Batch, plan: Plan, choices: list[int]) -> dict[int, list[Any]]:
    """Make steps with each number of threads in turns, at the plan's first and last knobs."""
    reports: dict[int, list[Any]] = {threads: [] for threads in choices}
    began = time.monotonic()
    for turn in range(1 + ROUNDS):  # the first turn allocates and starts the threads
        if turn > 2 and time.monotonic() - began > PATIENCE_S:
            break
        knobs = plan.at(plan.span.steps if turn % 2 else 1)
        for threads in choices:
            if len(choices) > 1:
                set_threads(threads)
            reports[threads].append(advance(learner, batch, knobs))
    return {threads: told[1:] for threads, told in reports.items()}


def best(told: dict[int, list[Any]]) -> int:
    """Choose between one thread and this rank's cores by the clock; a tie goes to one."""
    if len(told) == 1:
        return next(iter(told))
    took = {threads: statistics.median(map(spent, reports)) for threads, reports in told.items()}
    few, most = min(took), max(took)
    # spinning up a second core for a tenth is no gain on a machine that has other work
    chosen = few if took[few] <= 1.1 * took[most] else most
    set_threads(chosen)
    return chosen


def reset_peak(device: torch.device) -> None:
    """Forget the largest memory so far."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    reset_peak_rss()


def peak_mib(device: torch.device) -> float:
    """Give the most memory used since then."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return peak_rss_mib()


def forecast(
    recipe: Recipe, dataset: Dataset | None, folder: Path, timed: Timed | None, shards: int = 1
) -> Forecast:
    """Say what the plan will cost."""
    from surefoot.model.facts import forecast_parameters

    train = recipe.train
    parameters = forecast_parameters(recipe.model, shape(recipe))
    tokens = train.steps * train.batch * train.accumulate * train.seq_len
    base = rss_mib() if timed is None else timed.base_mib
    mem = computed = mem_gib(recipe, parameters, base, shards)
    low = high = seconds = roofline_s(recipe, parameters)
    if timed is not None:
        seconds = run_seconds(recipe, timed, timed.micro_s, dataset)
        low = run_seconds(recipe, timed, timed.low_s, dataset)
        high = run_seconds(recipe, timed, timed.high_s, dataset)
        mem = max(mem, timed.peak_mib / 1024)
    return Forecast(
        parameters=parameters,
        mem_gib=round(mem, 3),
        mem_free_gib=free_gib(recipe),
        seconds=round(seconds, 1),
        seconds_low=round(low, 1),
        seconds_high=round(high, 1),
        disk_gib=round(disk_gib(recipe, parameters), 4),
        disk_free_gib=disk_free_gib(folder),
        tokens=tokens,
        source="timed" if timed is not None else "roofline",
        checkpoint_gib=checkpoint_gib(recipe, parameters),
        batch_mem_gib={
            batch: need * mem / computed
            for batch, need in batch_mem_gib(recipe, parameters, base, shards).items()
        },
        muon_share=muon_share(recipe),
    )


def run_seconds(recipe: Recipe, timed: Timed, micro_s: float, dataset: Dataset | None) -> float:
    """Add up steps, validations, samples and saves."""
    train, val = recipe.train, recipe.val
    step = train.accumulate / timed.ranks * micro_s + timed.update_s
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
    step = recipe.train.accumulate / timed.ranks * timed.micro_s + timed.update_s
    guess = max(1, round(target / step))
    for _ in range(6):  # validations take their share, which depends on the steps
        train = recipe.train.model_copy(update={"steps": guess})
        total = run_seconds(
            recipe.model_copy(update={"train": train}), timed, timed.micro_s, dataset
        )
        guess = max(1, round(guess * target / total))
    return guess


def free_gib(recipe: Recipe) -> float | None:
    """Give the memory that is free on the device; None where the device isn't here."""
    if not is_here(recipe.train.device):
        return None
    device = device_of(recipe.train.device)
    if device.type == "cuda":
        return round(torch.cuda.mem_get_info(device)[0] / 2**30, 3)
    return round(available_gib(), 3)
