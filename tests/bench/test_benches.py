"""The benches of speed, start and time to loss: that they time what they say they time."""

import math
import pickletools
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from surefoot.bench import speed, startup, time_to_loss
from surefoot.bench.peers import nanogpt
from surefoot.bench.time_to_loss import LOSS, Ours, rows
from surefoot.errors import UsageError
from surefoot.protocol import Paired, Sample
from surefoot.recipe import load as recipes
from surefoot.run.blocks import Blocks
from surefoot.run.run import Run

TEXT = Path(__file__).parents[2].parent / "shared" / "data" / "tinyshakespeare.txt"
SMALL = {
    "model.dim": 16,
    "model.heads": 2,
    "model.layers": 1,
    "model.ffn.width": 32,
    "train.batch": 2,
    "train.seq_len": 16,
    "train.threads": 1,
}
ITERATIONS = """
step 0: train loss 4.1676, val loss 4.1648
iter 0: loss 4.1828, time 1061.44ms, mfu -100.00%
iter 1: loss 4.1373, time 62.00ms, mfu -100.00%
iter 2: loss 4.1400, time 58.00ms, mfu 0.01%
"""


@pytest.fixture
def sides(tmp_path: Path) -> speed.Sides:
    text, recipe = tmp_path / "a.txt", tmp_path / "small.toml"
    text.write_text("the rain in Spain stays mainly in the plain. " * 400)
    recipe.write_text(
        'schema = 1\nname = "small"\n[data]\ntokenizer = { kind = "byte" }\n'
        f'corpus = {{ kind = "text", path = "{text}", val_tail = 0.1 }}\n'
    )
    folder = tmp_path / "run"
    folder.mkdir()
    return speed.Sides(str(recipe), SMALL, folder, block=4)


def test_our_side_is_the_whole_loop_and_goes_on_block_by_block(sides: speed.Sides) -> None:
    sides.ours()
    sides.ours()
    assert sides.run.progress.step == 8
    sides.close()
    told = (sides.run.folder / "journal.jsonl").read_text().splitlines()
    assert sum('"kind":"step"' in line for line in told) == 8
    assert (sides.run.folder / "heartbeat_rank0.jsonl").is_file()
    assert (sides.run.folder / "metrics.csv").read_text().count("\n") == 9
    assert {f.name for f in fields(Run)} < {f.name for f in fields(Blocks)}


def test_both_sides_learn_the_same_shape(sides: speed.Sides) -> None:
    sides.ours()
    losses = [next(sides.theirs) for _ in range(80)]
    assert losses[0] == pytest.approx(math.log(256), rel=0.05)
    assert losses[-1] < losses[0] - 0.5
    sides.close()


def test_what_a_step_costs_more_is_told_in_microseconds(sides: speed.Sides) -> None:
    told = Paired([Sample(0.408, 0.408, 0)], [Sample(0.4, 0.4, 0)])
    row = sides.row(told)
    assert row["overhead_us"] == pytest.approx(2000) == row["overhead_cpu_us"]
    assert row["cpu_ratio"] == pytest.approx(0.4 / 0.408)
    assert row["tok_per_s"] == pytest.approx(2 * 16 / 0.102)
    sides.close()


def test_a_start_is_judged_by_its_seconds() -> None:
    told = Paired([Sample(0.2, 0.2, 0)] * 3, [Sample(0.01, 0.01, 0)] * 3)
    assert startup.row("x", 0.3, told)["verdict"] == "met"
    assert startup.row("x", 0.1, told)["verdict"] == "missed"


def test_the_goal_is_against_the_peers_better_setting() -> None:
    ours = [Ours(seed, 10.0 + seed, 14.0, 12.0, 1.87, 250) for seed in range(5)]
    peers = [nanogpt.Peer(1, 125.0, 130.0, 128.0, 1.886, 2000, 2000),
             nanogpt.Peer(2, 171.0, 180.0, 330.0, 1.886, 2000, 2000)]  # fmt: skip
    alone, one, two = rows(ours, peers, quick=False)
    assert alone["a"] == 12.0 and alone["reached"] == 5
    assert one["goal"] == 5.0 and one["verdict"] == "met" and two["goal"] is None
    assert one["ratio"] == pytest.approx(125 / 12)


def test_a_run_that_never_reached_the_loss_took_for_ever() -> None:
    late = Ours(0, 10.0, 14.0, 12.0, LOSS + 0.001, 250)
    assert late.seconds == math.inf
    alone, one = rows(
        [late] * 3, [nanogpt.Peer(1, 125.0, 130.0, 128.0, 1.886, 2000, 2000)], quick=False
    )
    assert alone["reached"] == 0 and one["verdict"] == "missed"


def test_a_peer_gets_our_text_in_its_own_format(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in ("train.py", "model.py"):
        (checkout / name).write_text("")
    copy = nanogpt.prepared(checkout, "abcabcabcd" * 10, 0.1, tmp_path)
    data = copy / "data" / "shakespeare_char"
    train, val = (np.fromfile(data / f"{side}.bin", np.uint16) for side in ("train", "val"))
    assert (len(train), len(val)) == (90, 10)
    assert train[:4].tolist() == [0, 1, 2, 0] and val[-1] == 3
    told = [(op.name, arg) for op, arg, _ in pickletools.genops((data / "meta.pkl").read_bytes())]
    assert ("UNICODE", "vocab_size") in told and ("INT", 4) in told


def test_a_folder_without_the_peer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no nanoGPT here"):
        nanogpt.prepared(tmp_path, "abc", 0.1, tmp_path)


def test_a_peers_iterations_are_read() -> None:
    assert nanogpt.ITERATION.findall(ITERATIONS) == [
        ("0", "1061.44"),
        ("1", "62.00"),
        ("2", "58.00"),
    ]


@pytest.mark.parametrize(("text", "why"), [(None, "is needed"), ("nowhere.txt", "no such file")])
def test_a_text_that_is_not_there_is_refused(text: str | None, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        time_to_loss.run(text=text)


def test_the_recipe_is_judged_on_the_same_tail_as_the_peer() -> None:
    recipe = recipes.load("shakespeare-char").recipe
    assert recipe.data.corpus.val_tail == time_to_loss.TAIL  # pyright: ignore[reportAttributeAccessIssue]
    assert recipe.model.mixers["W"].kind == "windowed"


@pytest.mark.slow
@pytest.mark.skipif(not TEXT.is_file(), reason="needs ../shared/data/tinyshakespeare.txt")
def test_shakespeare_char_reaches_the_loss(tmp_path: Path) -> None:
    assert time_to_loss.one(TEXT, 0, 1, tmp_path / "run").ce <= LOSS
