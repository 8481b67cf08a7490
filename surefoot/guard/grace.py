"""The steps after a planned event in which a monitor holds its judgement."""

from collections.abc import Mapping
from typing import Any

from surefoot.records import Event, Record, Remedy

# Steps, by what happened.
STEPS: Mapping[str, int] = {
    "raise": 200,  # of a cutoff: a spike is expected
    "growth": 100,  # of a window, a length or a batch
    "restart": 200,  # of the learning rate
    "resume": 50,
    "remedy": 100,
    "mixer": 500,
}
GROWING = ("window", "length", "seq_len", "batch", "accumulate")
RESTARTS = frozenset({"lr_restart", "stage"})
HARMLESS = frozenset({"stop", "save"})  # remedies after which nothing differs


def happened(record: Record) -> str:
    """Name what a record means for who judges the steps after it; nothing for most."""
    if isinstance(record, Remedy):
        return "" if record.name in HARMLESS else "remedy"
    if not isinstance(record, Event):
        return ""
    if record.name.endswith("_raised"):
        knob = record.name.removesuffix("_raised")
        return "raise" if not knob.startswith(GROWING) else "growth"
    if record.name in RESTARTS:
        return "restart"
    if record.name == "mixer_switched":
        return "mixer"
    return bent(record)


def bent(event: Event) -> str:
    """Judge a person's decision by what it does, and a resume by whether it was exact.

    A resume that restored everything changes nothing: grace after it would make a run that was
    killed differ from its twin that was not.
    """
    if event.name == "user" and event.args.keys() & {"ramp_steps", "factor"}:
        return "restart"
    if event.name in ("resumed", "branched") and event.args.get("exact") is False:
        return "resume"
    return ""


class Grace:
    """Says for each step whether a planned event still shakes the loss."""

    def __init__(self, steps: Mapping[str, int] = STEPS) -> None:
        self.steps = steps
        self.until = 0  # the last step of grace
        self.kind = ""  # the event that opened it
        self.last: dict[str, int] = {}  # name of an event -> the step at which it last came

    def see(self, record: Record) -> str:
        """Open after an event or a remedy; give its kind, or nothing."""
        kind = happened(record)
        length = self.steps.get(kind, 0)
        if not length or not isinstance(record, Event | Remedy):
            return ""
        at = record.at_step if isinstance(record, Remedy) else record.step
        before = self.last.get(record.name)
        self.last[record.name] = at
        # A knob that glides is no event a step: only the first of a close series opens grace,
        # or a monitor would be blind for as long as the glide lasts.
        if isinstance(record, Event) and before is not None and 0 < at - before < length:
            return ""
        if at + length - 1 >= self.until:
            self.until, self.kind = at + length - 1, kind
        return kind

    def open(self, step: int) -> bool:
        """Say whether a step is to be judged with grace."""
        return step <= self.until

    def state(self) -> dict[str, Any]:
        """Give how long it lasts."""
        return {"until": self.until, "kind": self.kind, "last": dict(self.last)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take it back."""
        self.until, self.kind = int(state["until"]), str(state["kind"])
        self.last = {str(name): int(step) for name, step in state["last"].items()}
