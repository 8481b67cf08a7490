"""What an audit found, and the sentences that say it."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from surefoot.audit.measure import Measure

EXITS = {"pass": 0, "leak": 3, "failed": 1, "unfinished": 1}
SAID = {
    "pass": "clean: no output depends on a later token",
    "leak": "it sees the future",
    "failed": "no leak was found, but a probe could not run",
    "unfinished": "no leak was found in what was checked, which is not all: give it more --budget",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an audit found."""

    what: str
    measures: list[Measure]
    leaks: list[str]  # one sentence for each module that leaks
    skipped: list[str] = field(default_factory=list[str])  # what was not checked, and why
    defects: list[str] = field(default_factory=list[str])  # what failed, and at which length
    unfinished: bool = False
    dtype: str = "float64"
    length: int = 0
    seconds: float = 0.0

    @property
    def state(self) -> str:
        """Say pass, leak, failed or unfinished; what was not run is no pass."""
        if any(measure.leaks for measure in self.measures):
            return "leak"
        if self.unfinished or not any(m.verdict == "clean" for m in self.measures):
            return "unfinished"
        failed = self.defects or any(measure.failed for measure in self.measures)
        return "failed" if failed else "pass"

    @property
    def clean(self) -> bool:
        """Say whether everything passed."""
        return self.state == "pass"

    @property
    def exit(self) -> int:
        """Give the exit code of `surefoot audit`."""
        return EXITS[self.state]

    def __str__(self) -> str:
        return f"{self.what}: {SAID[self.state]}"

    def brief(self) -> dict[str, object]:
        """Give what a journal and a checkpoint keep: nothing that the clock or a rounding moves."""
        return {"state": self.state, "leaks": self.leaks, "length": self.length}


def table(measures: list[Measure]) -> Iterator[str]:
    """Write a line a measure."""
    yield f"{'condition':<28} {'probe':<24} {'measured':>10}  {'verdict':<12} {'seconds':>7}"
    for m in measures:
        shown = "" if m.failed or m.skipped else f"{m.value:.1e}"
        line = f"{m.condition:<28} {m.probe:<24} {shown:>10}  {m.verdict:<12} {m.seconds:>7.2f}"
        yield f"{line}  {told(m)}".rstrip()


def told(m: Measure) -> str:
    """Say what a number doesn't."""
    if m.choices:
        return f"chosen otherwise: {', '.join(m.choices[:3])}"
    if m.verdict == "inconclusive":
        return f"rounding or a very small leak: {m.value:.1e} of {m.dtype}"
    return m.failed or m.skipped or m.said


def report(verdict: Verdict, whole: bool = False) -> Iterator[str]:
    """Say everything, the worst first."""
    for leak in verdict.leaks:
        yield f"LEAK     {leak}"
    for defect in verdict.defects:
        yield f"defect   {defect}"
    yield from table(verdict.measures)
    for m in verdict.measures:
        if m.drawn and (whole or m.leaks):
            yield ""
            yield f"{m.condition}: which inputs (across) each output (down) depends on; ! is later"
            yield from (f"  {line}" for line in m.drawn)
    for skipped in verdict.skipped:
        yield f"not checked: {skipped}"
    bits = {"float64": "fp64", "float32": "fp32"}[verdict.dtype]
    yield f"{verdict} ({verdict.seconds:.1f} s, {bits}, {verdict.length} tokens)"
