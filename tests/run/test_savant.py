"""001's document, line by line, in one run of savant-tiny that is stopped and goes on."""

import json
import math
import os
import signal
from pathlib import Path

import pytest

from scripts.logic_problems import write
from surefoot.errors import RunError
from surefoot.recipe.load import load
from surefoot.records import Eval, Event, Finding, Step, read
from surefoot.run.memory_cap import capped
from surefoot.shelf.checkpoint import candidates
from surefoot.shelf.load import load as load_checkpoint
from tests.guard.rules.test_seeds import of, told

from . import runs
from .test_memory_cap import Card
from .test_resume import wait_for_step

FILES = ("savant_dataset_train.jsonl", "savant_dataset_val.jsonl")
# the document's every 500 steps is every 5 here
SHORT = (
    "train.steps=30", "train.batch=4", "train.accumulate=2", "train.effective_batch=8",
    "val.every=5", "val.batches=10", "save.every=5", "train.threads=1", "guard.audit_after=0",
    "data.corpus.kind=jsonl", "data.corpus.prompt=prompt", "val.corpus.kind=jsonl",
    "val.corpus.prompt=prompt", "model.dim=32", "model.layers=2",
)  # fmt: skip


LARGE = {"model.vocab": 32_000, "train.batch": 96, "train.effective_batch": 1536}


def test_001s_guide_is_the_recipe_savant() -> None:
    recipe = load("savant").recipe
    train, val, save = recipe.train, recipe.val, recipe.save
    # Core hyperparameters
    assert (train.batch, train.accumulate, train.effective_batch) == (12, 16, 192)
    assert {options.lr for options in recipe.optim.values() if role_of(options)} == {2e-5}
    assert train.steps == 80_000
    assert recipe.knobs["lr"].warmup == 4000 == 0.05 * train.steps
    # Stability, precision, validation, checkpointing, names
    assert train.clip == 1.0 and recipe.model.mixers["L"].attn_softcap == 50.0
    assert train.precision == "auto"  # bf16 autocast on a GPU
    assert (val.every, val.batches, save.every, save.keep) == (500, 10, 500, 3)
    assert val.corpus.path == "savant_dataset_val.jsonl" and "If X=5 and Y=10" in val.prompts[0]
    assert recipe.logs.seed_names
    # VRAM
    card = Card()
    assert capped(recipe, card) and card.fractions == [pytest.approx(10e9 / card.total)]


def role_of(options: object) -> bool:
    """Say whether these are the options of a role that the recipe wrote itself."""
    return getattr(options, "lr", None) not in (3e-3, 5e-4, 1.5e-2)


def test_savant_starts_on_a_gpu_within_its_ten_gigabytes() -> None:
    facts = {"corpus_tokens": 10**8, "begun_from": "weights", "step_s": 3.0}
    found = told("savant", {"guard.accept": [], "model.vocab": 32_000}, **facts)
    accepted = set(load("savant").recipe.guard.accept)
    assert of(found, "refuse") <= accepted and "data_repeats" in of(found, "refuse")
    assert "vram_limit" not in found and "lr_scratch" not in found
    assert told("savant", LARGE, **facts)["vram_limit"]


@pytest.mark.slow
def test_a_run_of_savant_tiny_reads_like_the_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, 1500)
    paths = (f"data.corpus.path={FILES[0]}", f"val.corpus.path={FILES[1]}")
    changes = (*SHORT, *paths)
    run = tmp_path / "checkpoints_savant"

    # "The training loop runs continuously until MAX_STEPS or manual interruption." Emergency save:
    # "captures Ctrl+C to save state immediately before exiting, ensuring no progress is lost".
    asked = {"changes": changes, "drill": "nan@8"}
    pid = runs.forked(lambda: runs.start(Path("savant-tiny"), run, **asked).exit)
    wait_for_step(run, 17)
    os.kill(pid, signal.SIGINT)
    assert runs.ended(pid) == 130
    status = json.loads((run / "status.json").read_text())
    interrupted = candidates(run)[0].step
    assert status["saved"] == status["step"] == interrupted >= 17

    # "The script automatically detects existing files", "loads the latest by step number",
    # "restores model weights, optimizer state, and scheduler state": the same command again.
    assert (
        runs.ended(runs.forked(lambda: runs.start(Path("savant-tiny"), run, changes=changes).exit))
        == 0
    )
    records = list(read(run / "journal.jsonl"))
    resumed = [one for one in records if isinstance(one, Event) and one.name == "resumed"]
    assert [one.args["from"] for one in resumed] == [interrupted]
    steps = {one.step: one for one in records if isinstance(one, Step)}
    assert sorted(steps) == list(range(1, 31))

    # "Iterator cycles infinitely over the dataset": positions only ever go on.
    positions = [steps[n].position for n in range(1, 31)]
    assert positions == sorted(set(positions)) and positions[:2] == [0, 8]
    # A NaN: "that specific batch is skipped entirely to prevent polluting the weights".
    skipped = [one.step for one in steps.values() if one.skipped]
    assert skipped and skipped[0] == 8 and all(math.isfinite(steps[n].loss) for n in (7, 30))
    assert any(isinstance(one, Finding) and one.id == "nonfinite" for one in records)
    held = load_checkpoint(run / "step-00000030")
    assert all(bool(tensor.isfinite().all()) for tensor in held.model.values())
    # "Norms are clipped at 1.0."
    assert any(one.clipped for one in steps.values())

    # "Every 500 steps: runs 10 batches on the validation set ... generates a sample response ...
    # prints time, loss, and the generated output to the console and training_log.txt."
    evals = [one for one in records if isinstance(one, Eval)]
    assert [one.step for one in evals] == [5, 10, 15, 20, 25, 30]
    rows = [json.loads(line) for line in (run / "samples.jsonl").read_text().splitlines()]
    assert {row["prompt"] for row in rows} == {"If X=5 and Y=10, what is X+Y?"}
    log = (run / "training_log.txt").read_text()
    for one in evals:
        assert f"step {one.step} · val ce {one.val_ce:.4f}" in log
    assert log.count("     If X=5 and Y=10, what is X+Y?") >= 6
    assert log.splitlines()[0][2] == ":"  # the time

    # "Saves every 500 steps. Keeps only the 3 most recent checkpoints" (beside best and pre-decay).
    saved = [one.step for one in records if isinstance(one, Event) and one.name == "saved"]
    assert {5, 10, 15, 20, 25, 30} <= set(saved)
    left = {one.step for one in candidates(run)}
    assert {20, 25, 30} <= left and 5 not in left and len(left) <= 5

    # "If the optimizer fails to load it proceeds with a fresh optimizer but keeps the weights":
    # never by itself. By consent it does, and says so.
    other = ("optim.matrix.kind=adam", "optim.matrix.lr=0.001")
    with pytest.raises(RunError, match=r"optim\.matrix\.kind"):
        runs.resume(run, changes=other)
    assert runs.resume(run, start="step_20", fresh=("matrix",), changes=other).exit == 0
    events = [one for one in read(run / "journal.jsonl") if isinstance(one, Event)]
    consent = next(one for one in events if one.args.get("what") == "fresh_optimizer")
    assert consent.args["roles"] == ["matrix"] and consent.step == 21
    report = (run / "report.md").read_text()
    assert "By consent the optimisers of matrix began afresh at step 21." in report


@pytest.mark.soak
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_savant_tiny_answers_most_of_what_was_held_out(seed: int, tmp_path: Path) -> None:
    from surefoot.evaluate.answers import Asked, answer
    from surefoot.run.opened import open_model
    from surefoot.run.opening import read_data

    run = tmp_path / "run"
    assert runs.start(Path("savant-tiny"), run, changes=(f"train.seed={seed}",)).exit == 0
    opened = open_model(run)
    problems = [Asked(*one) for one in read_data(opened.recipe)[1].problems(1000)]
    found = answer(opened.model, opened.tokenizer, problems, opened.knobs)
    assert found.problems > 700 and found.exact_share > 0.8
