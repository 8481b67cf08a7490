"""What the tests of the loss monitors share: noise on a level, shown to one monitor."""

from collections.abc import Callable
from statistics import median
from typing import Any

from surefoot.records import Finding, Step
from tests.guard import traces


def losses(name: str, base: Callable[[int], float], steps: int, **more: Any) -> list[Finding]:
    """Show a monitor these levels under noise of deviation `sd`; give its findings, stamped."""
    kind, seed, sd = more.pop("kind", "gauss"), more.pop("seed", 0), more.pop("sd", 0.1)
    watcher, drawn = traces.monitor(name, more.pop("facts", {}), **more), traces.noise(kind, seed)
    found: list[Finding] = []
    for number in range(1, steps + 1):
        x = base(number) + sd * next(drawn)
        step = Step(step=number, loss=x, ce=x, grad_norm=1.0, lr={"matrix": 0.02})
        found += [stamped(one, number) for one in watcher.observe(step)]
    return found


def stamped(finding: Finding, step: int) -> Finding:
    """Put the step on, as the watch does."""
    fields = {name: getattr(finding, name) for name in finding.__dataclass_fields__}
    return Finding(**{**fields, "step": step})


def latencies(
    name: str, shift: float, severity: str, onset: int, after: int, seeds: range
) -> list[float]:
    """Give the steps from a shift of the level to its finding; without end where none came."""
    found: list[float] = []
    for seed in seeds:
        told = losses(name, lambda n: 3.0 + 0.1 * shift * (n >= onset), onset + after, seed=seed)
        steps = [one.step - onset for one in told if one.severity == severity]
        found.append(next((float(s) for s in steps if s >= 0), float("inf")))
    return found


def middle(found: list[float]) -> tuple[float, float]:
    """Give median and largest."""
    return median(found), max(found)
