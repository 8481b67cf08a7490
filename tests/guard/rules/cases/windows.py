"""Windows: whole tiles on a GPU."""

from tests.guard.rules.situations import Case

ODD = {"knobs.window.start": 192, "knobs.window.end": 1792, "knobs.window.round": 64}
SICK = [Case("window_step", "note", "windowed", changes=ODD, facts={"device": "cuda"})]
HEALTHY = [
    Case("window_step", recipe="windowed", changes=ODD),
    Case("window_step", recipe="windowed", facts={"device": "cuda"}),
]
