"""What preflight forecasts is what the run then takes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TEXT = Path(__file__).parent.parent / "fixtures" / "corpus"


def surefoot(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    words = (sys.executable, "-m", "surefoot", *words)
    return subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    "recipe",
    [
        ("starter",),
        ("windowed-tiny",),
        ("starter", "model.dim=384", "model.heads=6", "train.batch=16"),
    ],
)
def test_the_memory_forecast_is_within_15_percent_of_the_measured_peak(
    tmp_path: Path, recipe: tuple[str, ...]
) -> None:
    short = (*recipe, "train.steps=6", "val.every=0", "val.prompts=[]", "train.threads=1")
    told = surefoot("preflight", *short, "--no-time", "--json", folder=tmp_path)
    arithmetic = json.loads(told.stdout)["forecast"]["mem_gib"]
    told = surefoot("train", *short, "--run", "run", "--quiet", folder=tmp_path)
    assert told.returncode == 0, told.stderr
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    measured = metrics["forecast"]["measured_mem_gib"]
    assert arithmetic == pytest.approx(measured, rel=0.15)
    assert metrics["forecast"]["forecast_mem_gib"] == pytest.approx(measured, rel=0.15)
