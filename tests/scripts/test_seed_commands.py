"""The seeds' literal commands work from a checkout, and say what they stand for."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from scripts import seed_commands
from scripts.logic_problems import write
from scripts.seed_commands import command, table
from surefoot.shelf.checkpoint import candidates
from tests.house_rules import ROOT

SMALL = (
    "model.dim=16", "model.layers=2", "model.heads=2", "data.tokenizer.kind=byte",
    "data.corpus.prompt=prompt", "val.corpus.prompt=prompt", "train.batch=2", "train.accumulate=2",
    "train.effective_batch=4", "train.seq_len=64", "train.threads=1", "knobs.lr.warmup=1",
    "val.batches=2", "--plain",
)  # fmt: skip


def test_001s_command_alone_is_the_whole_run() -> None:
    assert " ".join(command(table("train_main"), [], {})) == (
        "train savant limits.mem_gb=10.0 train.steps=80000 --run runs/savant-001"
    )


def test_its_constants_are_taken_from_the_line_and_from_around_it() -> None:
    spelt = table("train_main")
    around = {"VRAM_LIMIT_GB": "8.0", "MAX_STEPS": "7", "HOME": "/"}
    words = command(spelt, ["MAX_STEPS=9", "--init-from", "weights", "--run", "mine"], around)
    assert " ".join(words) == (
        "train savant limits.mem_gb=8.0 train.steps=9 --init-from weights --run mine"
    )
    plain = command(spelt, ["limits.mem_gb=4.0", "--quiet"], {})
    assert "limits.mem_gb=10.0" not in plain and plain[-2:] == ["limits.mem_gb=4.0", "--quiet"]


def test_what_it_stands_for_is_printed_and_done_and_the_same_again_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, 400)
    words = ["MAX_STEPS=2", "VRAM_LIMIT_GB=10.0", *SMALL, "--accept", "data_repeats"]
    assert seed_commands.run("train_main", [*words[:-2]]) == 0
    told = capsys.readouterr().err
    assert told.startswith("surefoot train savant limits.mem_gb=10.0 train.steps=2 --run runs/sav")
    run = tmp_path / "runs" / "savant-001"
    assert [one.step for one in candidates(run)] == [2]
    assert (run / "training_log.txt").is_file()
    assert seed_commands.run("train_main", [*words[:-2]]) == 0
    assert "finished at step 2" in capsys.readouterr().err


def test_the_page_is_what_the_tables_say() -> None:
    page = (ROOT / "docs" / "from-the-seeds.md").read_text(encoding="utf-8")
    assert page == seed_commands.page(), "write it anew: python -m scripts.seed_commands"


def test_nothing_in_surefoot_knows_them() -> None:
    theirs = [
        name for path in (ROOT / "scripts").glob("*.toml") for name in table(path.stem)["names"]
    ]
    held = [path.read_text() for path in (ROOT / "surefoot").rglob("*.py")]
    assert theirs and not [name for name in theirs if any(name in text for text in held)]


def test_problems_are_written_as_jsonl_and_each_stands_once(tmp_path: Path) -> None:
    write(tmp_path, 900)
    train, val = (
        [
            json.loads(row)
            for row in (tmp_path / f"savant_dataset_{part}.jsonl").read_text().splitlines()
        ]
        for part in ("train", "val")
    )
    both = [row["prompt"] for row in train + val]
    assert len(both) == len(set(both)) and len(train) > 700 and len(val) > 20


@pytest.mark.slow
@pytest.mark.parametrize("words", [["scripts/train_main.py"], ["-m", "scripts.train_main"]])
def test_it_runs_as_a_file_and_as_a_module(words: list[str], tmp_path: Path) -> None:
    env = os.environ | {"PYTHONPATH": str(ROOT), "MAX_STEPS": "2"}
    first = [str(ROOT / words[0])] if words[0] != "-m" else words
    done = subprocess.run(
        [sys.executable, *first, *SMALL, "--dry", "data.corpus.path=nowhere.jsonl"],
        cwd=tmp_path, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("surefoot train savant limits.mem_gb=10.0 train.steps=2")
    assert "nowhere.jsonl" in done.stderr and "Traceback" not in done.stderr
