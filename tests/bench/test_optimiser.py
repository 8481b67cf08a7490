"""The optimiser's bench: its rows, and that what it compares is the same update."""

import json

import pytest
import torch

from surefoot.bench import optimiser


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU without units for bf16 takes 7 s for torch's update of one layer of full width."""
    monkeypatch.setattr(optimiser, "DIM", 96)


def test_it_reports_rows_with_ratio_interval_and_verdict() -> None:
    told = optimiser.run(quick=True, repeat=1, threads=1, layers=1)
    json.dumps(told, allow_nan=False)
    assert told["quick"]
    gemm = told["gemm"]
    assert [row["goal"] for row in told["rows"]] == (
        [3.0, None] if gemm["bf16_ms"] < gemm["fp32_ms"] else [3.0]
    )
    for row in told["rows"]:
        assert {"case", "a", "b", "ratio", "lo", "hi", "pairs", "redrawn", "verdict"} <= set(row)
        assert 0 < row["lo"] <= row["ratio"] <= row["hi"]
    assert told["rows"][0]["verdict"] in ("met", "missed", "undecided")
    assert told["settings"]["threads"] == 1
    for row in told["orthogonality"]:
        assert row["fp32"] <= row["torch"] + 1e-3
        assert row["bf16"] <= row["torch"] + 2e-3


def test_both_sides_make_the_same_update() -> None:
    ours, oracle = optimiser.optimiser("auto", 1), optimiser.theirs(1)
    before = [p.detach().clone() for p in ours.parameters.values()]
    ours.update(optimiser.LR, optimiser.MOMENTUM)
    oracle.step()
    theirs = oracle.param_groups[0]["params"]
    for start, own, other in zip(before, ours.parameters.values(), theirs, strict=True):
        assert torch.linalg.vector_norm(own - other) < 5e-2 * torch.linalg.vector_norm(
            other - start
        )
