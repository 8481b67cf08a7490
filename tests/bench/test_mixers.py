"""The bench of mixers times every mixer, and says what was measured and on what."""

import pytest
import torch

from surefoot import kinds
from surefoot.bench import mixers


def test_every_mixer_but_full_itself_is_timed_against_full():
    told = {case.split()[0] for case, *_ in mixers.modules(256)}
    assert told == set(kinds.names("mixers")) - {"full"}


def test_both_sides_of_a_case_compute_the_same():
    for case, band, square, _ in mixers.cases(512):
        if "masked square" in case:
            for ours, theirs in zip(band(), square(), strict=True):
                assert torch.allclose(ours, theirs, atol=1e-4)


@pytest.mark.slow
def test_a_quick_bench_gives_rows_settings_and_samples():
    told = mixers.run(quick=True, longest=512)
    assert told["quick"]
    assert told["settings"]["threads"] == torch.get_num_threads()
    for row in told["rows"]:
        assert row["lo"] <= row["ratio"] <= row["hi"]
        assert len(told["samples"][row["case"]]["a"]) == row["pairs"]
    assert {state["mixer"] for state in told["states"]} == set(kinds.names("mixers"))
