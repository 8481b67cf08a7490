"""What every bench promises: found by name, with a goal that is said, and the protocol's rows."""

import argparse
import inspect
import json
from typing import Any

import pytest

from surefoot import kinds
from surefoot.records import written

BENCHES = kinds.names("bench")
OF_ALL = {"quick", "repeat", "goal", "json", "debug"}
QUICK = ("optimiser", "startup")  # of those that need no text and no minute


@pytest.mark.parametrize("name", BENCHES)
def test_a_bench_runs_by_one_function_that_takes_quick_and_repeat(name: str) -> None:
    asked = inspect.signature(kinds.find("bench", name).run).parameters
    assert asked["quick"].default is False and asked["repeat"].default == 1
    assert any(one.kind is inspect.Parameter.VAR_KEYWORD for one in asked.values())


@pytest.mark.parametrize("name", BENCHES)
def test_a_bench_says_in_a_sentence_what_it_measures_and_names_its_goal(name: str) -> None:
    sentence = kinds.sentences("bench")[name]
    assert sentence.endswith(".") and len(sentence) < 120
    assert "Goal" in (kinds.find("bench", name).__doc__ or "")


@pytest.mark.parametrize("name", BENCHES)
def test_a_benchs_own_options_have_defaults_and_names_of_their_own(name: str) -> None:
    own = getattr(kinds.find("bench", name), "options", None)
    if own is None:
        return
    parser = argparse.ArgumentParser()
    own(parser.add_argument_group("own"))
    told = vars(parser.parse_args([]))
    assert told and not OF_ALL & set(told)


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_a_quick_look_gives_rows_that_a_strict_reader_takes(name: str) -> None:
    own: dict[str, Any] = {"no_first": True} if name == "startup" else {"layers": 1}
    told = kinds.find("bench", name).run(quick=True, **own)
    json.dumps(written(told), allow_nan=False)
    assert told["quick"] and told["rows"]
    for row in told["rows"]:
        assert {"case", "a", "b", "ratio", "lo", "hi", "pairs", "redrawn", "goal"} <= set(row)
        assert row["verdict"] in ("met", "missed", "undecided", None)
        assert 0 < row["lo"] <= row["ratio"] <= row["hi"]
