"""What is said before a run starts: what will run, what it will cost, and what the rules found."""

import importlib.metadata
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from surefoot import __version__
from surefoot.plan.plan import Plan
from surefoot.recipe.schema import Recipe
from surefoot.recipe.write import sha
from surefoot.records import Finding
from surefoot.show.amounts import count, duration
from surefoot.show.lines import finding_lines
from surefoot.show.printed import printable


class Told(Protocol):
    """What is asked of a dataset."""

    facts: dict[str, Any]


class Cost(Protocol):
    """What is asked of a forecast."""

    @property
    def parameters(self) -> Mapping[str, int]: ...
    @property
    def seconds(self) -> float: ...
    @property
    def seconds_low(self) -> float: ...
    @property
    def seconds_high(self) -> float: ...
    @property
    def mem_gib(self) -> float: ...
    @property
    def mem_free_gib(self) -> float | None: ...
    @property
    def disk_gib(self) -> float: ...
    @property
    def disk_free_gib(self) -> float: ...
    @property
    def source(self) -> str: ...


def program_line(threads: int) -> str:
    """Say what runs on what."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    used = f", {threads} thread{'s' if threads > 1 else ''}" if threads else ""
    torch = importlib.metadata.version("torch")
    return f"surefoot {__version__} · torch {torch} · {cores} core{'s' if cores != 1 else ''}{used}"


def plan_lines(recipe: Recipe, where: str, dataset: Told, cost: Cost) -> list[str]:
    """Say what will run and what it will cost."""
    return [
        program_line(recipe.train.threads),
        printable(f"recipe   {recipe.name}  ({where}, sha {sha(recipe)[:8]})"),
        printable(corpus_line(dataset.facts)),
        model_line(recipe, cost),
        schedule_line(recipe),
        cost_line(cost),
    ]


def corpus_line(facts: Mapping[str, Any]) -> str:
    """Say what is read."""
    parts = [f"{facts['bytes'] / 2**20:.1f} MiB"] if "bytes" in facts else []
    parts += [f"{facts[name]:,} {name}" for name in ("files", "documents") if facts.get(name)]
    tokens, size = facts.get("tokens", 0), facts.get("text_bytes") or facts.get("bytes", 0)
    held = facts.get("val_tokens", 0)
    if tokens:
        each = f" ({size / (tokens + held):.2f} bytes each)" if size else ""
        parts.append(f"{count(tokens)} tokens{each}, {count(held)} held out")
    skipped: Any = facts.get("skipped") or {}
    if isinstance(skipped, Mapping) and skipped:
        told = ", ".join(f"{n} {why}" for why, n in skipped.items())  # pyright: ignore[reportUnknownVariableType]
        parts.append(f"skipped: {told}")
    return f"corpus   {facts.get('corpus', '')}: {', '.join(parts)}"


def model_line(recipe: Recipe, cost: Cost) -> str:
    """Say what is trained."""
    model = recipe.model
    letters = (model.pattern * math.ceil(model.layers / len(model.pattern)))[: model.layers]
    mixers = Counter(model.mixers[letter].kind for letter in letters)
    kinds = ", ".join(f"{kind} ×{times}" for kind, times in mixers.items())
    total = sum(cost.parameters.values())
    shape = f"{model.layers} layers × {model.dim}"
    return f"model    {total:,} parameters · {shape} · {kinds} · {model.head.kind}"


def schedule_line(recipe: Recipe) -> str:
    """Say how long, and how the learning rate goes."""
    train = recipe.train
    each = train.batch * train.accumulate * train.seq_len
    schedule: Any = recipe.knobs["lr"]
    span = Plan(recipe).span
    phases = schedule.kind
    if hasattr(schedule, "ups"):
        up, down = schedule.ups(span), schedule.downs(span)
        phases = f"warmup {up}, stable {max(0, train.steps - up - down)}, decay {down}"
    peaks = ", ".join(f"{role} {getattr(o, 'lr', 0):g}" for role, o in recipe.optim.items()
                      if role in ("matrix", "embedding"))  # fmt: skip
    front = f"plan     {train.steps} steps × {each:,} tokens = {count(train.steps * each)}"
    return f"{front} · {phases} · peak lr {peaks}"


def cost_line(cost: Cost) -> str:
    """Say what it will cost, and out of how much."""
    span = f"{duration(cost.seconds_low)} – {duration(cost.seconds_high)}"
    time = f"{duration(cost.seconds)} ({span})"
    if cost.source != "timed":
        time = f"about {duration(cost.seconds)}, not timed"
    free = "" if cost.mem_free_gib is None else f" of {cost.mem_free_gib:.1f}"
    mem = f"memory {cost.mem_gib:.2f}{free} GiB"
    disk = f"disk {cost.disk_gib * 1024:.0f} MiB of {cost.disk_free_gib:.0f} GiB"
    return f"cost     {time} · {mem} · {disk}"


def check_lines(findings: Sequence[Finding], rules: int) -> list[str]:
    """Say what the rules found, the worst first; a refusal says that nothing was started."""
    by = Counter(finding.severity for finding in findings)
    named = {finding.id for finding in findings}
    found = [f"{rules - len(named)} fine"]
    words = (("refuse", "refused"), ("act", "to act on"), ("warn", "warned"), ("note", "noted"))
    found += [f"{by[severity]} {word}" for severity, word in words if by[severity]]
    lines = [f"check    {rules} rules: {', '.join(found)}"]
    for finding in findings:
        lines += finding_lines(finding)
    if by["refuse"]:
        lines.append(f"refused {by['refuse']} of {rules} rules. Nothing was started.")
    return lines
