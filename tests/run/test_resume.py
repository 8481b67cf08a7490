"""A run that is killed and resumed is the run that was never disturbed."""

import json
import os
import re
import signal
from pathlib import Path

import pytest

from surefoot.errors import SurefootError
from surefoot.records import Step, read
from surefoot.shelf.checkpoint import candidates

from . import runs


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Train once, undisturbed; it warms up all that a child would otherwise import."""
    folder = tmp_path_factory.mktemp("twin")
    recipe = runs.place(folder)
    assert runs.start(recipe, folder / "run").exit == 0
    return recipe, folder / "run"


def go_on_until_done(recipe: Path, run: Path, tries: int = 5) -> None:
    for _ in range(tries):
        code = runs.ended(runs.forked(lambda: runs.start(recipe, run).exit))
        if code == 0:
            return
    raise AssertionError(f"{run} never finished")


@pytest.mark.parametrize("step", [10, 15, 26])
def test_stopped_and_resumed_it_equals_its_twin(
    twin: tuple[Path, Path], tmp_path: Path, step: int
) -> None:
    recipe, undisturbed = twin
    run = tmp_path / "run"
    pid = runs.forked(lambda: runs.start(recipe, run).exit)
    wait_for_step(run, step)
    (run / "stop").write_text("enough")
    assert runs.ended(pid) in (75, 0)
    go_on_until_done(recipe, run)
    runs.check_equal(run, undisturbed)


def wait_for_step(run: Path, step: int) -> None:
    runs.wait_for(run / "journal.jsonl", f'"step":{step},')


def wait_for_save(run: Path, step: int) -> None:
    """Wait until a save that is written beside the training has ended."""
    runs.wait_for(run / "journal.jsonl", f'"saved","step":{step},')


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 75), (signal.SIGUSR1, 75), (signal.SIGHUP, 75)],
)
def test_a_signal_saves_and_leaves_with_its_code(
    twin: tuple[Path, Path], tmp_path: Path, number: int, code: int
) -> None:
    recipe, _ = twin
    run = tmp_path / "run"
    pid = runs.forked(lambda: runs.start(recipe, run, changes=("train.steps=4000",)).exit)
    wait_for_step(run, 5)
    os.kill(pid, number)
    assert runs.ended(pid) == code
    status = json.loads((run / "status.json").read_text())
    assert status["state"] == "stopped"
    assert status["exit"] == code
    assert status["saved"] == status["step"] == candidates(run)[0].step


def test_a_run_that_never_saved_begins_again(tmp_path: Path) -> None:
    recipe = runs.place(tmp_path)
    changes = ("save.every=0", "val.every=0")
    run, other = tmp_path / "run", tmp_path / "twin"
    assert runs.ended(runs.forked(lambda: runs.start(recipe, other, changes=changes).exit)) == 0
    pid = runs.forked(lambda: runs.start(recipe, run, changes=changes).exit)
    wait_for_step(run, 9)
    os.kill(pid, signal.SIGKILL)
    runs.ended(pid)
    assert runs.start(recipe, run, changes=changes).exit == 0
    runs.check_equal(run, other)


def test_a_flipped_bit_is_found_and_the_checkpoint_before_is_used(
    twin: tuple[Path, Path], tmp_path: Path
) -> None:
    recipe, undisturbed = twin
    run = tmp_path / "run"
    pid = runs.forked(lambda: runs.start(recipe, run).exit)
    wait_for_save(run, 20)
    os.kill(pid, signal.SIGKILL)
    runs.ended(pid)
    newest = candidates(run)[0]
    weights = newest.path / "model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[len(raw) // 2] ^= 4
    weights.write_bytes(raw)
    assert runs.resume(run).exit == 0
    assert list(run.glob(f"corrupt-{newest.name}-*"))
    assert '"fallback"' in (run / "journal.jsonl").read_text()
    runs.check_equal(run, undisturbed)


def test_a_finished_run_started_again_says_so(twin: tuple[Path, Path]) -> None:
    recipe, run = twin
    before = (run / "journal.jsonl").read_bytes()
    assert runs.start(recipe, run).exit == 0
    assert (run / "journal.jsonl").read_bytes() == before


def test_an_extended_run_is_refused_when_its_rate_would_jump(tmp_path: Path) -> None:
    recipe = runs.place(tmp_path)
    run = tmp_path / "run"
    assert runs.start(recipe, run).exit == 0
    ended = runs.resume(run, changes=("train.steps=80",))
    assert ended.exit == 3
    assert [f["id"] for f in ended.status["findings"] if f["severity"] == "refuse"] == ["lr_jump"]
    branched = runs.resume(run, changes=("train.steps=80",), start="pre-decay")
    assert branched.exit == 0
    assert branched.status["step"] == 80


def test_another_recipes_folder_is_refused_and_what_differs_is_listed(
    twin: tuple[Path, Path],
) -> None:
    recipe, run = twin
    with pytest.raises(SurefootError) as told:
        runs.start(recipe, run, changes=("model.dim=32", "train.seq_len=8"))
    assert told.value.exit == 3
    assert "model.dim: 16 there, 32 here" in str(told.value)
    assert "train.seq_len: 16 there, 8 here" in str(told.value)


def test_a_run_in_use_is_refused(tmp_path: Path) -> None:
    recipe = runs.place(tmp_path)
    run = tmp_path / "run"
    pid = runs.forked(lambda: runs.start(recipe, run, changes=("train.steps=4000",)).exit)
    wait_for_step(run, 3)
    with pytest.raises(SurefootError) as told:
        runs.start(recipe, run, changes=("train.steps=4000",))
    os.kill(pid, signal.SIGKILL)
    runs.ended(pid)
    assert told.value.exit == 2
    assert f"held by pid {pid}" in str(told.value)


def test_changed_data_are_refused(tmp_path: Path) -> None:
    recipe = runs.place(tmp_path)
    run = tmp_path / "run"
    pid = runs.forked(lambda: runs.start(recipe, run).exit)
    wait_for_save(run, 10)
    os.kill(pid, signal.SIGKILL)
    runs.ended(pid)
    text = tmp_path / "text.txt"
    text.write_text(text.read_text().replace("stone", "stoat"))
    with pytest.raises(SurefootError) as told:
        runs.resume(run)
    assert told.value.exit == 3
    assert "data changed" in str(told.value)


def test_a_changed_tokenizer_is_refused(tmp_path: Path) -> None:
    recipe, run = runs.place(tmp_path), tmp_path / "run"
    llama = Path(__file__).parent.parent / "fixtures" / "llama" / "tokenizer.json"
    own = f'data.tokenizer={{kind="file", path="{llama}"}}'
    changes = (own, "train.steps=4", "save.every=2", "val.every=0", "val.batches=1")
    assert runs.start(recipe, run, changes=changes).exit == 0
    (run / "status.json").unlink()
    kept = json.loads((run / "tokenizer.json").read_bytes())
    (run / "tokenizer.json").write_text(json.dumps(kept | {"pad": 5}))
    with pytest.raises(SurefootError, match=r"its tokenizer, or .* changed since step 4") as told:
        runs.resume(run)
    assert told.value.exit == 3


def test_what_a_refused_jump_advises_can_be_pasted(twin: tuple[Path, Path]) -> None:
    _, run = twin
    refused = runs.resume(run, changes=("train.steps=80",))
    (advice,) = [f["instead"] for f in refused.status["findings"] if f["id"] == "lr_jump"]
    commands = re.findall(r"surefoot train (\S.*?)(?=  |$)", advice)
    assert [line.split()[-1] for line in commands] == ["branch", "ramp", "peak=0.005"]
    for line in commands:
        _, folder, change, _, way = line.split()
        assert (folder, change) == (str(run), "train.steps=80")
        assert runs.resume(Path(folder), changes=(change,), resume_lr=way, dry=True).exit == 0


@pytest.mark.parametrize("way", ["ramp=0", "ramp=-5", "ramp=1.5", "ramp=long", "peek=0.005"])
def test_a_way_that_is_none_is_a_sentence(twin: tuple[Path, Path], way: str) -> None:
    with pytest.raises(SurefootError, match=r"--resume-lr = \S+: .* Write --resume-lr \w+=[\d.]+"):
        runs.resume(twin[1], changes=("train.steps=80",), resume_lr=way)


def test_a_ramp_of_a_few_steps_is_a_jump(twin: tuple[Path, Path]) -> None:
    for way, code in (("ramp=5", 3), ("ramp=30", 0)):
        ended = runs.resume(twin[1], changes=("train.steps=120",), resume_lr=way, dry=True)
        assert ended.exit == code


@pytest.mark.parametrize(("way", "share"), [("ramp", 1.0), ("peak=0.005", 0.25)])
def test_the_ways_out_of_a_jump_ramp_the_rate_and_are_written_down(
    tmp_path: Path, way: str, share: float
) -> None:
    recipe = runs.place(tmp_path)
    run = tmp_path / "run"
    assert runs.start(recipe, run).exit == 0
    more = ("train.steps=330", "val.every=0", "save.every=0")
    pid = runs.forked(lambda: runs.resume(run, changes=more, resume_lr=way).exit)
    wait_for_step(run, 52)
    os.kill(pid, signal.SIGKILL)  # the person's decision is not lost with the process
    runs.ended(pid)
    assert runs.resume(run).exit == 0
    steps = {r.step: r.lr["matrix"] for r in read(run / "journal.jsonl") if isinstance(r, Step)}
    assert all(steps[s + 1] / steps[s] < 1.1 for s in range(40, 250))
    assert steps[250] == pytest.approx(0.02 * share)


def test_a_fresh_optimiser_comes_only_by_consent_and_warms_up(tmp_path: Path) -> None:
    recipe = runs.place(tmp_path)
    run = tmp_path / "run"
    pid = runs.forked(lambda: runs.start(recipe, run).exit)
    wait_for_save(run, 10)
    os.kill(pid, signal.SIGKILL)
    runs.ended(pid)
    after = candidates(run)[0].step + 1
    with pytest.raises(SurefootError, match=r"optim\.matrix\.kind"):
        runs.resume(run, changes=("optim.matrix.kind=adam",))
    ended = runs.resume(run, changes=("optim.matrix.kind=adam",), fresh=("matrix",))
    assert ended.exit == 0
    steps = {r.step: r.lr for r in read(run / "journal.jsonl") if isinstance(r, Step)}
    assert steps[after]["matrix"] < 0.03 * steps[after]["embedding"]


def test_a_start_that_was_killed_before_it_wrote_its_recipe_begins_again(tmp_path: Path) -> None:
    recipe, run = runs.place(tmp_path), tmp_path / "run"
    run.mkdir()
    for name in ("lock", "owner.json", ".tmp-recipe.toml-0a1b2c3d"):
        (run / name).write_text("")
    assert runs.start(recipe, run).exit == 0
