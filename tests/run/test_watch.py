"""What a run tells its monitors, and what of them a checkpoint holds."""

import json
from pathlib import Path
from typing import Any

from surefoot.recipe import write
from surefoot.recipe.load import load
from surefoot.run.opening import Opening, begin, read_data
from surefoot.train import train

from . import runs


def test_monitors_hear_of_saves_and_facts_and_the_machines_own_are_in_no_checkpoint(
    tmp_path: Path,
) -> None:
    resolved, dataset = read_data(write.resolved(load(runs.place(tmp_path), {}).recipe))
    (tmp_path / "run").mkdir()
    run = begin(Opening(resolved, dataset), tmp_path / "run")
    told: dict[str, Any] = dict(run.watch.monitors)
    try:
        assert train(run).exit == 0
    finally:
        run.close()
    assert told["save_overdue"].saved == 40
    assert 0 < told["early_stuck"].bigram < told["early_stuck"].unigram
    assert 100 < told["memory_creep"].limit_mib < float("inf")
    state = json.loads((tmp_path / "run" / "final" / "state.json").read_bytes())
    assert "loss_gap" in state["monitors"] and "embedding_lag" in state["monitors"]
    assert not {"throughput", "memory_creep", "disk", "save_overdue"} & {*state["monitors"]}
