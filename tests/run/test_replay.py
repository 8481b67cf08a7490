"""Any step of a run can be made again and looked into, and the run is only read."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest

from surefoot.cli import main
from surefoot.data.origins import origins
from surefoot.errors import SurefootError
from surefoot.recipe import write
from surefoot.recipe.load import load
from surefoot.records import Remedy, Step, read
from surefoot.run.opening import Opening, begin, read_data
from surefoot.run.replaying import Replay, replay
from surefoot.run.resuming import stored
from tests.run import runs
from tests.run.test_rewind import ALARM, trained

STEPS = 44
ODD = "§" * 12  # no other document has this letter


def again(folder: Path, step: int, generation: int | None = None) -> Replay:
    return replay(folder, step, generation, lambda text: None)


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train over a rewind from step 39 to 20, on a text with some odd documents."""
    folder = tmp_path_factory.mktemp("replay")
    recipe = runs.place(folder)
    documents = (folder / "text.txt").read_text().split("\n\n")
    documents[::16] = [ODD] * len(documents[::16])
    (folder / "text.txt").write_text("\n\n".join(documents))
    asked = {"train.steps": STEPS, "val.every": 0}
    resolved, dataset = read_data(write.resolved(load(recipe, asked).recipe))
    (folder / "run").mkdir()
    assert trained(begin(Opening(resolved, dataset), folder / "run")) == 0
    return folder / "run"


@pytest.mark.parametrize(("step", "generation"), [(33, None), (33, 0), (4, None), (ALARM, 0)])
def test_a_step_comes_out_bit_by_bit_and_the_run_is_only_read(
    run: Path, step: int, generation: int | None
) -> None:
    """Also a step that a rewind left behind, and one before every checkpoint that is left."""
    before = contents(run)
    found = again(run, step, generation)
    assert (found.exact, found.astray, found.differs, found.reasons) == (True, 0, {}, [])
    assert found.told.generation == (generation if generation is not None else int(step > 20))
    assert found.others == ([1 - found.told.generation] if step > 20 and step <= ALARM else [])
    assert found.start < step
    assert contents(run) == before


def test_it_starts_from_the_nearest_checkpoint_of_its_own_history(run: Path) -> None:
    rewound = [one for one in read(run / "journal.jsonl") if isinstance(one, Remedy)]
    assert [one.name for one in rewound] == ["skip", "rewind"]
    assert again(run, STEPS).start == 40
    # step 31 of the first generation must not begin from step 30 of the second
    first = again(run, 31, 0)
    there = run / "step-00000030"
    assert first.start == (30 if there.is_dir() else 20 if (run / "step-00000020").is_dir() else 0)
    assert first.exact


def test_the_documents_that_carry_the_loss_are_named_and_decoded(run: Path) -> None:
    recipe, dataset = read_data(stored(run))
    odd = [
        step
        for step in range(2, 20)
        if ODD[:4].encode() in bytes_read(dataset, step) and origins(dataset, step).size
    ]
    assert odd, "no step before the rewind reads an odd document"
    found = again(run, odd[0]).inside
    assert "§" in found.pieces[0].text
    assert sum(piece.loss_share for piece in found.pieces) == pytest.approx(1)
    assert sum(piece.target_share for piece in found.pieces) == pytest.approx(1)
    assert sum(piece.targets for piece in found.pieces) == 2 * 2 * recipe.train.seq_len


def bytes_read(dataset: Any, step: int) -> bytes:
    targets = dataset.batch(step).targets
    return "".join(dataset.tokenizer.decode(row.tolist()) for row in targets).encode()


def test_gradient_norms_by_part_are_those_of_the_step(run: Path) -> None:
    found = again(run, 4)
    whole = math.sqrt(sum(norm**2 for norm in found.inside.grad_norms.values()))
    assert whole == pytest.approx(found.again.grad_norm, rel=1e-5)
    assert {"embedding", "layers.0", "layers.1"} <= set(found.inside.grad_norms)
    mean = sum(piece.ce * piece.target_share for piece in found.inside.pieces)
    assert mean == pytest.approx(found.again.ce, rel=1e-5)
    told = {one.step: one for one in read(run / "journal.jsonl") if isinstance(one, Step)}
    assert found.usual["loss"] in {told[step].loss for step in (1, 2, 3)}


def test_a_step_that_was_otherwise_is_said_to_be(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "run"
    shutil.copytree(run, other, symlinks=True)
    rows = [json.loads(line) for line in (other / "journal.jsonl").read_text().splitlines()]
    for row in rows:
        if row["kind"] == "step" and row["step"] == 2:
            row["loss"] += 1e-9
    (other / "journal.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = again(other, 2)
    assert set(found.differs) == {"loss"}
    assert again(other, 3).astray == 2


def test_a_damaged_checkpoint_is_left_out_and_stays_where_it_is(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "run"
    shutil.copytree(run, other, symlinks=True)
    (newest,) = other.glob("step-00000040-g1")
    damaged = newest / "model.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    before = contents(other)
    found = again(other, STEPS)
    assert found.exact
    assert found.start < 40
    assert found.notes[0].startswith("step-00000040-g1 is left out: it is damaged")
    assert contents(other) == before


def test_what_can_not_be_made_again_says_why(run: Path, tmp_path: Path) -> None:
    for asked, said in [
        ((99, None), f"steps 1 to {STEPS}. Write --step {STEPS}"),
        ((33, 7), "done in generation 0, 1. Write --generation 1"),
    ]:
        with pytest.raises(SurefootError) as told:
            again(run, *asked)
        assert told.value.exit == 2
        assert said in str(told.value)
    other = tmp_path / "run"
    shutil.copytree(run, other, symlinks=True)
    text = run.parent / "text.txt"
    (tmp_path / "text.txt").write_text(text.read_text().replace("stone", "stoNe"))
    moved = (other / "recipe.toml").read_text().replace(str(text), str(tmp_path / "text.txt"))
    (other / "recipe.toml").write_text(moved)
    with pytest.raises(SurefootError, match="its data changed since") as told:
        again(other, 3)
    assert told.value.exit == 3


def test_the_verb_prints_words_and_numbers(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(run), "--step", "3"]) == 0
    printed = capsys.readouterr()
    assert "reproduced bit by bit" in printed.out
    assert "layers.1 " in printed.out
    assert "of the targets" in printed.out
    assert "doing steps 1 to 2 again, from the first values" in printed.err
    assert main(["replay", str(run), "--step", "3", "--documents", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["exact"], told["from_step"], told["redone"]) == (True, 0, 2)
    assert len(told["documents"]) == 2
    assert main(["replay", str(run)]) == 2
    assert "Write --step 120" in capsys.readouterr().err


@pytest.mark.slow
def test_steps_of_each_recipe_of_a_run_that_was_made_longer_come_out_again(tmp_path: Path) -> None:
    tiny = runs.TINY.replace("steps = 40", "steps = 10")
    tiny = tiny.replace("every = 10", 'every = 4\nkeep = "all"').replace("every = 15", "every = 0")
    folder = tmp_path / "run"
    assert runs.start(runs.place(tmp_path, tiny), folder).exit == 0
    assert runs.resume(folder, changes=("train.steps=16",), accept=("lr_jump",)).exit == 0
    for step in (3, 9, 11, 12, 16):
        found = again(folder, step)
        assert (found.exact, found.notes) == (True, [])
    for checkpoint in folder.glob("step-*"):
        if int(checkpoint.name[5:]) < 12:
            shutil.rmtree(checkpoint)
    assert again(folder, 3).notes[0].startswith("the recipe of steps 1 to 3 is gone")
    assert again(folder, 16).exact
