"""The floor of a smoothed loss, as it is known for 003's ten percent of 4096 tokens."""

from tests.guard.rules.situations import Case

SMOOTHED = {"model.head.label_smoothing": 0.1}
SICK = [Case("decay_floor_smoothing", "note", changes=SMOOTHED, said="1.1566 nats")]
HEALTHY = [Case("decay_floor_smoothing")]
