"""What others wrote is shown, and a terminal obeys none of it; no figure waits for a pipe."""

import json
import os
import shutil
from pathlib import Path

import pytest

from tests.hostile.sandbox import Tried, tried
from tests.run import runs

EVIL = "a\x1b[2J\x1b]0;title\x07\u202e\u2066\x9b31m\r\x08\x7f"
SHORT = ("train.steps=2", "save.every=2", "val.every=0", "val.batches=1", "guard.audit_after=0")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    assert runs.start(runs.place(folder), folder / "run", changes=SHORT).exit == 0
    return folder / "run"


def plain(told: Tried) -> str:
    """Check that nothing in it is for the terminal alone, and give it."""
    text = told.out + told.said
    wrong = {sign for sign in text if not sign.isprintable() and sign not in "\n\t"}
    assert not wrong, wrong
    return text


def table(title: str, note: str) -> str:
    rows = "\n".join(f"| {step} | {3.0 - step / 1000:.3f} | {note} |" for step in range(0, 900, 50))
    return f"# {title}\n\n| step | loss | note |\n|---|---|---|\n{rows}\n"


LOGS = {
    "report.md": table(f"run{EVIL} haar", f"new best{EVIL} below 0.1"),
    f"lo{EVIL}g.csv": "step,loss,lr\n" + "".join(f"{i},{9 - i / 9},0.1\n" for i in range(20)),
    "log.jsonl": "".join(
        json.dumps({"step": i, "loss": 3.0, f"lr/{EVIL}": 0.1}) + "\n" for i in range(20)
    ),
    "mapped.csv": f"step,loss,lr_{EVIL}\n" + "".join(f"{i},3.0,0.1\n" for i in range(20)),
}


@pytest.mark.parametrize("name", LOGS)
def test_no_log_moves_the_terminal(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(LOGS[name])
    told = tried(["diagnose", name], tmp_path)
    assert told.code in (0, 2) and "itself failed" not in plain(told)


def test_no_recipe_moves_the_terminal(tmp_path: Path) -> None:
    quoted = json.dumps(EVIL)
    text = f'[val]\nprompts = [{quoted}]\n[data.corpus]\nkind = "text"\npath = {quoted}\n'
    (tmp_path / "theirs.toml").write_text(text)
    told = tried(["show", "theirs.toml"], tmp_path)
    assert told.code == 0 and "\\x1b" in plain(told)
    assert tried(["preflight", "theirs.toml"], tmp_path).code == 2
    plain(tried(["preflight", "theirs.toml"], tmp_path))
    plain(tried(["show", "theirs.toml", EVIL], tmp_path))
    plain(tried([EVIL], tmp_path))


def test_no_run_moves_the_terminal_or_stops_the_list(base: Path, tmp_path: Path) -> None:
    place = tmp_path / "runs"
    place.mkdir()
    for name in (f"r{EVIL}", "piped", "deep", "words"):
        shutil.copytree(base, place / name, symlinks=True)
    (place / "piped" / "status.json").unlink()
    os.mkfifo(place / "piped" / "status.json")
    (place / "deep" / "status.json").write_text("[" * 60_000)
    status = {"state": EVIL, "step": EVIL, "steps": [EVIL], "ce": EVIL, "val_ce": {"a": EVIL}}
    (place / "words" / "status.json").write_text(json.dumps(status))
    told = tried(["list", "runs"], tmp_path)
    assert told.code == 0, told.said
    assert plain(told).count("\n") == 4
    assert tried(["list", "runs", "--json"], tmp_path).code == 0


def test_no_text_that_a_model_writes_moves_the_terminal(base: Path, tmp_path: Path) -> None:
    shutil.copytree(base, tmp_path / "theirs", symlinks=True)
    told = tried(["generate", "theirs", "--prompt", EVIL, "--tokens", "200"], tmp_path)
    assert told.code == 0 and "\\x1b" in plain(told)
