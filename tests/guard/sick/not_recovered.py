"""A raise after which the loss stays where its spike took it."""

from dataclasses import replace

from surefoot.records import Event, Record, Step
from tests.guard.traces import at, changed, run

RAISED = 700
ONSET, LATENCY = RAISED + 1000, 50  # the first step at which it is late


def trace() -> list[Record]:
    def kicked(one: Step) -> Step:
        up = 0.9 if one.step < RAISED + 50 else 0.7
        return replace(one, ce=one.ce + up, loss=one.loss + up)

    args = {"from": 128, "to": 256}
    raised = Event(name="cutoff_raised", step=RAISED, args=args, planned=True)
    return at(changed(run(steps=1900), RAISED, kicked), raised)
