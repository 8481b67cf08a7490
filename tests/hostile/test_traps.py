"""What would run if it were unpickled, evaluated or imported lies everywhere, and nothing runs."""

import io
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from surefoot import cli
from tests.hostile.inputs import HEAD, STEP, Trap, rewritten, zipped
from tests.hostile.sandbox import tried
from tests.house_rules import ROOT
from tests.run import runs

CODE = "__import__('os').system('touch canary')"
MODULE = "import pathlib\npathlib.Path('canary').touch()\n"
# names that something would import if it looked here
LOOKALIKES = (
    "plugins.py", "evil.py", "conftest.py", "sitecustomize.py", "usercustomize.py", "full.py",
    "surefoot_plugins.py", "mixers/evil.py", "mixers/__init__.py", "model/mixers/evil.py",
    "surefoot/__init__.py", "torch.py", "numpy.py", "tomllib.py", "rich.py", "tokenizers.py",
)  # fmt: skip
SHORT = ("train.steps=2", "save.every=2", "val.every=0", "val.batches=1", "guard.audit_after=0")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of ours."""
    folder = tmp_path_factory.mktemp("base")
    assert runs.start(runs.place(folder), folder / "run", changes=SHORT).exit == 0
    return folder / "run"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder full of lookalikes; at the end nothing in it must have run."""
    box = tmp_path / "box"
    runs.place(box)
    for name in LOOKALIKES:
        (box / name).parent.mkdir(parents=True, exist_ok=True)
        (box / name).write_text(MODULE)
    yield box
    assert not list(tmp_path.rglob("canary")), "something ran"


def put(path: Path, text: str | bytes) -> None:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


def test_a_pickle_runs_where_it_is_unpickled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps(Trap()))  # noqa: S301 (that is the trap)
    assert (tmp_path / "canary").exists()


PARTS = ("model.safetensors", "optim.safetensors", "state.json", "recipe.toml", "tokenizer.json")


@pytest.mark.parametrize("trap", [pickle.dumps(Trap()), zipped(), CODE.encode()])
@pytest.mark.parametrize("part", PARTS)
def test_no_part_of_a_save_runs(part: str, trap: bytes, place: Path, base: Path) -> None:
    run = Path(shutil.copytree(base, place / "theirs", symlinks=True))
    rewritten(run, part, trap)
    assert tried(["generate", "theirs", "--tokens", "1"], place).code in (2, 3)
    put(run / "status.json", "{}")
    words = ["train", "--resume", "theirs", "train.steps=3", "--quiet"]
    # a resume reads the run's own recipe, not the save's
    assert tried(words, place).code in ((0, 3) if part == "recipe.toml" else (2, 3))


def test_what_lies_beside_in_a_save_is_let_be(place: Path, base: Path) -> None:
    run = Path(shutil.copytree(base, place / "theirs", symlinks=True))
    (saved,) = run.glob("step-*")
    for name in (".metadata", "model.pt", "optimizer.pkl", "data.bin", "rng.pth", "__init__.py"):
        put(saved / name, pickle.dumps(Trap()))
        put(run / name, pickle.dumps(Trap()))
    done = tried(["generate", "theirs", "--tokens", "3"], place)
    assert done.code == 0, done.said
    assert tried(["verify", "theirs"], place).code == 0


@pytest.mark.parametrize(
    "text",
    [
        '[data]\ncorpus = { kind = "evil" }\n',
        '[model.mixers]\nL = { kind = "evil" }\n',
        f'name = "{CODE}"\n',
        '[model.mixers]\nL = { kind = "mixers.evil" }\n',
        "[guard.monitors.evil]\n",
    ],
)
def test_no_recipe_runs(text: str, place: Path) -> None:
    put(place / "theirs.toml", text)
    for words in (["show", "theirs.toml"], ["preflight", "theirs.toml"], ["train", "theirs.toml"]):
        assert tried(words, place).code == 2


@pytest.mark.parametrize("lines", [CODE, json.dumps({"text": CODE}), json.dumps({"__reduce__": 1})])
def test_no_corpus_runs(lines: str, place: Path) -> None:
    put(place / "data.jsonl", f"{lines}\n" * 500)
    corpus = 'corpus = { kind = "jsonl", path = "data.jsonl" }\ntokenizer = { kind = "byte" }'
    text = (
        runs.TINY.partition("[data]")[0] + f"[data]\n{corpus}\n[train]\nsteps = 2\nseq_len = 16\n"
    )
    put(
        place / "theirs.toml",
        text.replace('window = { knob = "window" }', "window = 8").replace(
            '[knobs.window]\nkind = "windows"\nstart = 4\nend = 16\nround = 4\n', ""
        ),
    )
    assert tried(["train", "theirs.toml", "--quiet"], place).code in (0, 2)


LOGS = {
    "journal.jsonl": HEAD + json.dumps({**STEP, "loss": CODE, "lr": {CODE: CODE}}).encode() + b"\n",
    "log.jsonl": json.dumps({"step": 1, "loss": CODE, CODE: 1.0}).encode() + b"\n",
    "metrics.csv": f"step,loss,{CODE}\n1,{CODE},=1+1\n2,1.0,2\n".encode(),
    "trainer_state.json": json.dumps({"log_history": [{"step": CODE, "loss": CODE}]}).encode(),
    "train.log": f"iter 1: loss {CODE}, time 1.0ms\nstep:1/2 train_loss:{CODE}\n".encode(),
    "report.md": f"# {CODE}\n\n| step | loss |\n|---|---|\n| 1 | {CODE} |\n".encode(),
    "events.out.tfevents.1": pickle.dumps(Trap()),
}


@pytest.mark.parametrize("name", LOGS)
@pytest.mark.parametrize("pickled", [False, True])
def test_no_log_runs(name: str, pickled: bool, place: Path) -> None:
    put(place / name, pickle.dumps(Trap()) if pickled else LOGS[name])
    told = tried(["diagnose", name], place)
    assert told.code in (0, 2) and "itself failed" not in told.said, told.said


def test_nothing_beside_is_imported_by_any_start(place: Path) -> None:
    """Python itself puts the current folder first for `-m`; we take it out again."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    info = place / "evil-1.0.dist-info"
    info.mkdir()
    put(info / "METADATA", "Name: evil\nVersion: 1.0\n")
    put(info / "entry_points.txt", "[surefoot.mixers]\nevil = evil\n")
    shutil.rmtree(place / "surefoot")  # this one Python would take before a line of ours runs
    words = [sys.executable, "-m", "surefoot", "show", "starter", "model.mixers.L.kind=evil"]
    done = subprocess.run(
        words, cwd=place, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    assert 'kind = "evil": there is no such choice of mixers' in done.stderr


def test_a_run_from_its_start_to_its_text_unpickles_nothing(tmp_path: Path) -> None:
    recipe, run = runs.place(tmp_path), tmp_path / "run"

    def act() -> int:
        import torch

        def refuse(*_: Any, **__: Any) -> Any:
            raise AssertionError("something is unpickled")

        pickle.load = pickle.loads = pickle.Unpickler = refuse  # type: ignore[assignment,misc]
        pickle._loads = pickle._Unpickler = refuse  # type: ignore[attr-defined]
        torch.load = torch.serialization.load = refuse
        os.environ["XDG_CACHE_HOME"] = str(tmp_path / "cache")  # what others kept is not ours
        assert runs.start(recipe, run, changes=("train.steps=4", "save.every=2")).exit == 0
        assert runs.resume(run, changes=("train.steps=6",), accept=("lr_jump",)).exit == 0
        begun = tmp_path / "begun"
        assert runs.start(recipe, begun, changes=SHORT, init_from=str(run)).exit == 0
        sys.stdout = io.StringIO()
        for words in (["generate", str(run), "--tokens", "4"], ["verify", str(run)],
                      ["evaluate", str(run)], ["replay", str(run), "--step", "3"],
                      ["diagnose", str(run)]):  # fmt: skip
            assert cli.main(words) == 0, words
        return 0

    assert runs.ended(runs.forked(act)) == 0
