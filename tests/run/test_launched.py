"""What launchers say, how a step is split over ranks, and what can't be."""

import json
from pathlib import Path

import pytest

from surefoot.errors import DeviceError, RunError, UsageError
from surefoot.recipe.load import load
from surefoot.recipe.schema import Recipe
from surefoot.run.launched import (
    Place,
    ended,
    first_ranks,
    fitting,
    of_each,
    one_each,
    place,
    restarted,
    spread,
)
from surefoot.run.launcher import launched, words
from surefoot.run.leading import refuse_different

from .ranks import of_rank


def recipe(*changes: str) -> Recipe:
    return load("starter", changes).recipe


def run(folder: Path, launch: str, code: int | None = None) -> Path:
    """Lay down what a restart looks at: the journal's first line, and the status."""
    folder.mkdir(parents=True)
    header = {"v": 1, "kind": "run", "step": 0, "generation": 0, "world": 4, "launch": launch}
    (folder / "journal.jsonl").write_text(json.dumps(header) + "\n")
    (folder / "status.json").write_text(json.dumps({"exit": code}))
    return folder


def test_a_process_by_itself_is_alone() -> None:
    assert place({}) == Place()


def test_torchruns_words_are_read() -> None:
    told = {**of_rank(1, 4, "29500"), "TORCHELASTIC_RESTART_COUNT": "2"}
    here = place(told)
    assert (here.rank, here.world, here.local_rank, here.restarts) == (1, 4, 1, 2)
    assert here.launch.count("-") == 2


@pytest.mark.parametrize("missing", ["RANK", "WORLD_SIZE", "MASTER_PORT"])
def test_half_of_torchruns_words_are_refused(missing: str) -> None:
    told = {name: value for name, value in of_rank(0, 2, "1").items() if name != missing}
    with pytest.raises(UsageError, match=rf"{missing} is not set.*Write torchrun --nproc") as said:
        place(told)
    assert said.value.exit == 2


def test_a_rank_that_is_no_number_is_refused() -> None:
    with pytest.raises(UsageError, match="RANK = one: it is no number"):
        place({**of_rank(0, 2, "1"), "RANK": "one"})


def test_more_ranks_than_devices_are_refused() -> None:
    one_each(Place(world=2, local_world=2), "cpu", 1)
    one_each(Place(world=2, local_world=2), "auto", 0)
    with pytest.raises(DeviceError, match=r"there are 2 devices.*--procs 2"):
        one_each(Place(world=4, local_world=4), "auto", 2)


def test_the_first_start_writes_out_the_micro_batches_of_all_ranks() -> None:
    asked = recipe("train.accumulate=3")
    whole = spread(asked, 4)
    assert whole.train.accumulate == 12
    assert whole.distributed.lanes is None
    assert of_each(whole, 4).train.accumulate == 3
    assert spread(recipe("distributed.reduce=exact"), 4).distributed.lanes == 4


@pytest.mark.parametrize(
    ("changes", "ranks", "said"),
    [
        (
            ("train.accumulate=10",),
            4,
            "ranks = 4: the run's 10 micro-batches a step do not split over 4 (2 left over). "
            "Write --procs 10 or --procs 5 or --procs 2 or --procs 1",
        ),
        (
            ("train.accumulate=6", "distributed.reduce=exact", "distributed.lanes=6"),
            2,
            "distributed.lanes = 6: they are added as a tree, so they are a power of two that "
            "divides 6. Write distributed.lanes=1 or distributed.lanes=2",
        ),
        (
            ("train.accumulate=8", "distributed.reduce=exact", "distributed.lanes=2"),
            4,
            "ranks = 4: the run's 2 lanes do not split over 4. Write --procs 2 or --procs 1",
        ),
        (
            ("distributed.reduce=exact", "distributed.lanes=1", "train.precision=bf16_pure"),
            1,
            'distributed.reduce = "exact": sums of bf16 gradients are rounded where ranks part. '
            "Write train.precision=bf16",
        ),
    ],
)
def test_what_does_not_split_is_refused(changes: tuple[str, ...], ranks: int, said: str) -> None:
    assert [str(found) for found in fitting(recipe(*changes), ranks)] == [said]


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_what_splits_is_let_be(ranks: int) -> None:
    assert not fitting(recipe("train.accumulate=8"), ranks)
    exact = recipe("train.accumulate=8", "distributed.reduce=exact", "distributed.lanes=4")
    assert not fitting(exact, ranks)


def test_a_restart_finds_its_run_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run(Path("runs") / "other", "elsewhere")
    mine = run(Path("runs") / "mine", "here")
    again = Place(world=4, restarts=1, launch="here")
    assert restarted(again, None, None) == mine
    assert restarted(again, "other", None) is None
    assert restarted(Place(world=4, launch="here"), None, None) is None
    assert first_ranks(mine) == 4


@pytest.mark.parametrize(("code", "told"), [(75, 75), (0, 0), (1, None), (None, None)])
def test_a_stop_is_not_started_again(tmp_path: Path, code: int | None, told: int | None) -> None:
    assert ended(run(tmp_path / "run", "here", code)) == told


def test_ranks_get_the_words_without_procs() -> None:
    line = ["train", "starter", "--procs", "2", "--quiet", "--procs=2", "train.steps=5"]
    assert words(line) == ["train", "starter", "--quiet", "train.steps=5"]


def test_procs_is_a_number_of_ranks_that_torchrun_did_not_start() -> None:
    with pytest.raises(UsageError, match="Write --procs 1"):
        launched(0, Place(), [])
    with pytest.raises(UsageError, match="torchrun has started 4 ranks already"):
        launched(2, Place(world=4), [])


def test_ranks_with_other_code_or_data_are_named() -> None:
    same = {"torch": "2.13", "the corpus": "abc"}
    refuse_different([same, same])
    with pytest.raises(RunError, match=r"rank 2 = 2.12: torch differs from rank 0's") as said:
        refuse_different([same, same, {**same, "torch": "2.12"}])
    assert said.value.exit == 3
