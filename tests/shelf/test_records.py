"""Records as journal lines: what is written comes back."""

import json
import math

from surefoot.records import Event, Step, line, parse


def test_numbers_that_are_none_come_back_from_lists_and_tables_and_words_stay_words() -> None:
    step = Step(step=1, loss=math.inf, ce=1.0, grad_norm=1.0, layer_out_rms=[1.0, math.inf],
                update_ratio={"matrix": -math.inf})  # fmt: skip
    assert parse(json.loads(line(step))) == step
    event = Event(name="drill", step=1, args={"kind": "nan"})
    assert parse(json.loads(line(event))) == event
