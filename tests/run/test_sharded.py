"""Sharded ranks are one run: the curve of whole weights, gone on with by any number, either way."""

import errno
import hashlib
import json
import os
import pickle
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributed import distributed_c10d

from surefoot.cli import main
from surefoot.errors import RunError
from surefoot.learn.learner import Learner
from surefoot.learn.ranks import Ranks
from surefoot.model.facts import forecast_parameters
from surefoot.plan.plan import Plan
from surefoot.plan.shape import shape
from surefoot.recipe import load as recipes
from surefoot.recipe import write
from surefoot.records import Step, read
from surefoot.run import launched, rows
from surefoot.run.forecast import mem_gib
from surefoot.run.leading import Lead
from surefoot.run.mode import minutes_time_steps, mode_of
from surefoot.run.opening import make_learner, read_data
from surefoot.run.shared_folder import insist
from surefoot.shelf.checkpoint import Checkpoint, verify
from surefoot.shelf.disk import Disk
from surefoot.shelf.load import find, load

from . import ranks, runs
from .test_ranks import ROWS, bare, on_batch, stop_after
from .test_rewind import Planted

FSDP = ("distributed.mode=fsdp",)
QUICK = ("val.every=0", "save.every=7", "guard.audit_after=0")
SHORT = (*QUICK, "train.steps=20")
# Newton-Schulz makes noise of rounding: with Muon norms part at 1e-4
SMOOTH = (*SHORT, "optim.matrix.kind=adam", "optim.matrix.lr=0.003")
PROBED = {"layer_grad_norm": 1e-4, "layer_out_rms": 1e-4, "update_ratio": 1e-3}
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny run's recipe."""
    return runs.place(tmp_path_factory.mktemp("recipe"))


def trained(recipe: Path, run: Path, world: int, changes: tuple[str, ...]) -> Path:
    """Train four micro-batches a step on so many ranks, none of which unpickles anything."""
    own = (*changes, f"train.accumulate={4 // world}")
    codes = ranks.train(world, unpickle_nothing, what=str(recipe), run=run, changes=own)
    assert codes == [0] * world
    return run


def unpickle_nothing(rank: int) -> None:
    """Let this process fail where anything is unpickled, torch's own messages included."""

    def refuse(*given: Any, **named: Any) -> Any:
        raise AssertionError(f"rank {rank} unpickles")

    pickle.load = pickle.loads = pickle.Unpickler = torch.load = refuse
    distributed_c10d._unpickler = refuse  # pyright: ignore[reportPrivateUsage]


@pytest.fixture(scope="module")
def whole(recipe: Path) -> Path:
    """Two ranks, each with all weights."""
    return trained(recipe, recipe.parent / "whole", 2, SMOOTH)


@pytest.fixture(scope="module")
def sharded(recipe: Path) -> dict[int, Path]:
    """The same run on 2 and on 4 ranks that share the weights out."""
    return {
        world: trained(recipe, recipe.parent / f"w{world}", world, (*SMOOTH, *FSDP))
        for world in (2, 4)
    }


def alike(run: Path, other: Path) -> None:
    """Hold two curves against each other, to what another order of additions may change."""
    ours, theirs = ranks.steps(run), ranks.steps(other)
    assert [one["step"] for one in ours] == [one["step"] for one in theirs] == list(range(1, 21))
    for mine, its in zip(ours, theirs, strict=True):
        assert mine["batch_hash"] == its["batch_hash"]
        assert mine["loss"] == pytest.approx(its["loss"], rel=1e-5)
        assert mine["grad_norm"] == pytest.approx(its["grad_norm"], rel=1e-4)
        for name, share in PROBED.items():
            assert (name in mine) == (name in its)
            if name in mine:
                assert mine[name] == pytest.approx(its[name], rel=share)
        if "loss_checksum" in mine:
            assert len(set(mine["loss_checksum"].values())) == 1


def on_ranks(world: int, act: Callable[[Ranks], None]) -> None:
    """Let so many processes meet and act, without a run."""
    meeting = ranks.port()

    def one(rank: int) -> int:
        os.environ.update(ranks.of_rank(rank, world, meeting))
        here = Ranks(rank, world, rank)
        here.meet()
        here.open(60.0)
        act(here)
        here.part()
        return 0

    pids = [runs.forked(lambda rank=rank: one(rank)) for rank in range(world)]
    assert [runs.ended(pid) for pid in pids] == [0] * world


def sha(tensors: Mapping[str, Tensor]) -> str:
    """Hash tensors by name."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        found.update(name.encode() + tensors[name].detach().contiguous().numpy().tobytes())
    return found.hexdigest()


@pytest.mark.parametrize("world", [2, 3, 4])
def test_first_values_have_the_bits_that_one_rank_draws(recipe: Path, world: int) -> None:
    asked, dataset = read_data(write.resolved(recipes.load(recipe).recipe))
    dataset.close()
    alone = sha(make_learner(asked).parameters)

    def act(here: Ranks) -> None:
        learner = make_learner(asked, here)
        found = here.whole(learner)
        assert here.rank or sha(found) == alone
        held = sum(p.numel() for p in learner.parameters.values())
        assert here.rank or held < 1.2 / world * sum(p.numel() for p in found.values())

    on_ranks(world, act)


def test_a_folder_that_not_all_ranks_see_is_refused(tmp_path: Path) -> None:
    def act(here: Ranks) -> None:
        from surefoot.run import shared_folder

        shared_folder.PATIENCE_S = 0.2
        insist(here, tmp_path, Disk())
        elsewhere = tmp_path / "elsewhere" if here.rank else tmp_path
        with pytest.raises(
            RunError, match=r"rank 1 does not see .*Write --run with a folder"
        ) as no:
            insist(here, elsewhere, Disk())
        assert no.value.exit == 3

    on_ranks(2, act)
    assert list(tmp_path.iterdir()) == []


def test_weights_are_shared_out_where_they_have_no_room(recipe: Path) -> None:
    asked, dataset = read_data(write.resolved(recipes.load(recipe).recipe))
    dataset.close()
    two = launched.Place(0, 2, 0, 2)
    assert mode_of(asked, launched.Place()) == ""
    assert mode_of(asked, two) == "ddp"
    # 2^40 parameters are more than any machine that runs this test holds
    vast = asked.model.model_copy(update={"dim": 2**18, "heads": 2**10, "kv_heads": 2**10})
    vast = vast.model_copy(update={"layers": 16})
    assert mode_of(asked.model_copy(update={"model": vast}), two) == "fsdp"
    told = asked.distributed.model_copy(update={"mode": "ddp"})
    large = asked.model_copy(update={"model": vast, "distributed": told})
    assert mode_of(large, two) == "ddp"
    counts = forecast_parameters(vast, shape(large))
    need = {ranks: mem_gib(large, counts, 0.0, ranks) for ranks in (1, 2, 8)}
    copy = 1.05 * 4 * sum(counts.values()) / 2**30  # whole, for the first rank's validations
    assert copy < need[8] < need[2] < need[1]
    assert need[1] - need[2] + copy == pytest.approx((need[1] - need[8] + copy) * 4 / 7)


def test_what_sharded_weights_can_not_do_is_refused(recipe: Path) -> None:
    both = recipes.load(recipe, (*FSDP, "distributed.reduce=exact", "train.minutes=5")).recipe
    (problem,) = launched.fitting(both, 2)
    assert 'distributed.reduce = "exact"' in str(problem)
    assert 'Write distributed.mode="ddp"' in str(problem)
    assert launched.fitting(both.model_copy(update={"distributed": told_ring(both)}), 2) == []
    with pytest.raises(RunError, match=r"train\.minutes = 5.*Write train\.steps"):
        minutes_time_steps(both, "fsdp", steps_given=False)
    minutes_time_steps(both, "fsdp", steps_given=True)
    minutes_time_steps(both, "ddp", steps_given=False)


def told_ring(recipe: Any) -> Any:
    return recipe.distributed.model_copy(update={"reduce": "ring"})


def test_weights_taken_over_are_those_that_the_next_pass_sees(recipe: Path) -> None:
    """A pass without its way back leaves weights gathered, and these are old by then."""
    asked, dataset = read_data(write.resolved(recipes.load(recipe).recipe))
    batch = replace(dataset.batch(1), valid=32)
    knobs = Plan(asked).at(1).values
    dataset.close()

    def act(here: Ranks) -> None:
        learner = make_learner(asked, here)
        own = make_learner(asked)
        learner.loss(batch, knobs, 32)
        changed = {name: whole * 0.5 for name, whole in own.parameters.items()}
        own.load(changed)
        learner.load(changed)
        with torch.no_grad():
            assert torch.equal(learner.loss(batch, knobs, 32)[0], own.loss(batch, knobs, 32)[0])

    on_ranks(3, act)  # some rows have to be padded: 16 are no multiple of 3


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 4])
def test_the_curve_is_that_of_whole_weights(
    whole: Path, sharded: dict[int, Path], world: int
) -> None:
    alike(sharded[world], whole)
    manifest = json.loads((sharded[world] / "final" / "manifest.json").read_bytes())
    assert manifest["how"]["env"]["mode"] == "fsdp"
    assert f"model-00001-of-{world:05d}.safetensors" in manifest["files"]
    theirs = load(find(whole, "final"))
    for name, tensor in load(find(sharded[world], "final")).model.items():
        assert torch.allclose(tensor, theirs.model[name], atol=1e-4), name


@pytest.mark.slow
def test_muon_gradients_summed_each_time_and_an_audit_on_the_way(
    recipe: Path, tmp_path: Path
) -> None:
    more = ("val.every=10", "save.every=7", "guard.audit_after=5", "train.steps=20")
    one = trained(recipe, tmp_path / "whole", 2, more)
    each = "distributed.accumulate_sharded=true"
    two = trained(recipe, tmp_path / "sharded", 2, (*more, *FSDP, each))
    for mine, its in zip(ranks.steps(two), ranks.steps(one), strict=True):
        assert mine["loss"] == pytest.approx(its["loss"], rel=1e-5)
    ours, theirs = (list(runs.rows(run / "journal.jsonl")) for run in (two, one))
    seen, wanted = ([r["val_ce"] for r in told if r["kind"] == "eval"] for told in (ours, theirs))
    assert seen == pytest.approx(wanted, rel=1e-5)
    assert any(raw.get("name") == "audited" for raw in ours)


@pytest.mark.slow
@pytest.mark.parametrize("saved", [2, 4])
def test_what_is_saved_any_number_of_ranks_loads_to_the_bit(
    sharded: dict[int, Path], saved: int
) -> None:
    run = sharded[saved]
    content = load(find(run, "final"))
    asked, dataset = read_data(recipes.load(run / "recipe.toml").recipe)
    dataset.close()
    learner = make_learner(asked)
    learner.load(content.model, content.optim)
    assert sha(learner.parameters) == sha(content.model)

    def act(here: Ranks) -> None:
        own = make_learner(asked, here)
        assert own.shards is not None
        here.hand_out(own, {**content.model, **content.optim} if here.rank == 0 else None)
        found = {n: own.shards.gathered(n, t.detach()) for n, t in own.parameters.items()}
        slots = {n: own.shards.gathered(n, t) if t.dim() else t for n, t in own.slots().items()}
        assert sha(found) == sha(content.model)
        assert sha(slots) == sha(content.optim)

    for world in (2, 4):
        on_ranks(world, act)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((4, "fsdp"), (1, "fsdp")),
        ((4, "fsdp"), (2, "fsdp")),
        ((4, "fsdp"), (2, "ddp")),
        ((2, "ddp"), (4, "fsdp")),
    ],
    ids=str,
)
def test_another_number_of_ranks_goes_on_with_the_curve_either_way(
    recipe: Path,
    whole: Path,
    tmp_path: Path,
    before: tuple[int, str],
    after: tuple[int, str],
) -> None:
    run, (world, mode) = tmp_path / "run", before
    own = (*SMOOTH, f"distributed.mode={mode}", f"train.accumulate={4 // world}")
    codes = ranks.train(world, lambda _: stop_after(9), what=str(recipe), run=run, changes=own)
    assert codes[0] == 75
    world, mode = after
    changes = (f"distributed.mode={mode}",)
    assert ranks.train(world, named=False, resume=str(run), changes=changes) == [0] * world
    alike(run, whole)


@pytest.mark.slow
@pytest.mark.parametrize(("rank", "saving"), [(0, False), (1, False), (1, True)])
def test_killed_and_gone_on_with_by_as_many_ranks_the_bits_are_the_same(
    recipe: Path,
    sharded: dict[int, Path],
    tmp_path: Path,
    rank: int,
    saving: bool,
    capfd: pytest.CaptureFixture[str],
) -> None:
    run = tmp_path / "run"

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    class Deadly(Disk):
        def before(self, operation: str, path: Path) -> None:
            if operation == "fsync" and "step-00000014" in str(path):
                die()

    def kill(here: int) -> None:
        if here == rank and saving:
            rows.Disk = Deadly
        elif here == rank:
            on_batch(11, die)

    own = (*SMOOTH, *FSDP, "train.accumulate=2")
    codes = ranks.train(2, kill, what=str(recipe), run=run, changes=own)
    assert codes[rank] == 128 + signal.SIGKILL
    assert codes[1 - rank] == 1
    said = f"rank {1 - rank} of 2: another rank ended or fell silent while"
    assert said in capfd.readouterr().err
    assert not (run / "step-00000014").exists()
    assert ranks.train(2, named=False, resume=str(run)) == [0, 0]
    assert bare(run) == bare(sharded[2])
    assert runs.files(run) == runs.files(sharded[2])


@pytest.mark.slow
@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_what_is_not_finite_on_one_rank_is_left_out_by_all(
    recipe: Path, tmp_path: Path, where: str
) -> None:
    run = tmp_path / "run"

    def spoil(rank: int) -> None:
        inner = Learner.__init__

        def init(self: Learner, *args: Any, **named: Any) -> None:
            inner(self, *args, **named)
            loss = self.loss

            def spoilt(batch: Any, *told: Any) -> Any:
                value, stats = loss(batch, *told)
                if batch.position != 2 * ROWS + 6:  # the third step's last micro-batch
                    return value, stats
                if where == "loss":
                    return value * float("nan"), stats
                value.register_hook(lambda gradient: gradient * float("inf"))
                return value, stats

            self.loss = spoilt

        if rank == 1:
            Learner.__init__ = init

    own = (*QUICK, *FSDP, "train.steps=6", "train.accumulate=2")
    assert ranks.train(2, spoil, what=str(recipe), run=run, changes=own) == [0, 0]
    (bad,) = [s for s in read(run / "journal.jsonl") if isinstance(s, Step) and s.nonfinite]
    assert not bad.skipped
    assert bad.valid_tokens == 2 * 2 * 16  # of each rank's two micro-batches the second is left out
    assert [one["rank"] for one in bad.skipped_micro or []] == [0, 1]
    assert [one["micro"] for one in bad.skipped_micro or []] == [1, 3]
    assert ("loss" in (bad.nonfinite or {})) == (where == "loss")
    assert len(set((bad.loss_checksum or {}).values())) == 1
    final = load(find(run, "final"))
    assert all(bool(tensor.isfinite().all()) for tensor in final.model.values())


@pytest.mark.slow
def test_a_rewind_takes_every_rank_back_to_its_rows(recipe: Path, tmp_path: Path) -> None:
    inner = Lead.begin

    def begin(self: Lead, run: Any) -> None:
        run.watch = Planted(run.watch)
        inner(self, run)

    def plant(rank: int) -> None:
        Lead.begin = begin

    lasting = ("val.every=0", "save.every=10", "guard.audit_after=0", "train.steps=50")
    lasting = (*lasting, *SMOOTH[-2:], "train.accumulate=2")
    found: dict[str, list[dict[str, Any]]] = {}
    for mode in ("ddp", "fsdp"):
        own = (*lasting, f"distributed.mode={mode}")
        run = tmp_path / mode
        assert ranks.train(2, plant, what=str(recipe), run=run, changes=own) == [0, 0]
        found[mode] = ranks.steps(run)
    assert max(raw["generation"] for raw in found["fsdp"]) == 1
    for mine, its in zip(found["fsdp"], found["ddp"], strict=True):
        assert (mine["step"], mine["generation"]) == (its["step"], its["generation"])
        assert mine["loss"] == pytest.approx(its["loss"], rel=1e-4)


@pytest.mark.slow
def test_a_full_disk_on_one_rank_costs_a_save_and_nothing_else(
    recipe: Path, sharded: dict[int, Path], tmp_path: Path
) -> None:
    run = tmp_path / "run"

    class Full(Disk):
        def before(self, operation: str, path: Path) -> None:
            if operation == "create" and "step-00000007" in str(path):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fill(rank: int) -> None:
        if rank == 1:
            rows.Disk = Full

    own = (*SMOOTH, *FSDP, "train.accumulate=2", "save.keep=9")
    assert ranks.train(2, fill, what=str(recipe), run=run, changes=own) == [0, 0]
    told = [r for r in runs.rows(run / "journal.jsonl") if r.get("name") == "save_failed"]
    assert [one["args"]["errno"] for one in told] == [errno.ENOSPC]
    assert not (run / "step-00000007").exists()
    assert [p.name for p in run.glob(".tmp-*")] == []
    assert (
        runs.files(run)["model-00002-of-00002.safetensors"]
        == (runs.files(sharded[2])["model-00002-of-00002.safetensors"])
    )


@pytest.mark.slow
def test_weights_from_a_sharded_checkpoint_and_a_fresh_optimiser(
    recipe: Path, sharded: dict[int, Path], tmp_path: Path
) -> None:
    changes = (*QUICK, "train.steps=12", "train.accumulate=2")
    found: list[list[float]] = []
    for mode in ("ddp", "fsdp"):
        asked = {"run": tmp_path / mode, "changes": (*changes, f"distributed.mode={mode}")}
        begun = ranks.train(
            2, lambda _: stop_after(8), what=str(recipe), init_from=str(sharded[4]), **asked
        )
        assert begun[0] == 75
        resumed = ranks.train(2, named=False, resume=str(tmp_path / mode), fresh=("matrix",))
        assert resumed == [0, 0]
        found.append([one["loss"] for one in ranks.steps(tmp_path / mode)])
    assert found[1] == pytest.approx(found[0], rel=1e-4)
    assert found[1][0] < 0.95 * ranks.steps(sharded[4])[0]["loss"]


@pytest.mark.slow
def test_a_slow_disk_on_one_rank_saves_the_step_that_it_was_told(
    recipe: Path, sharded: dict[int, Path], tmp_path: Path
) -> None:
    run = tmp_path / "run"

    class Slow(Disk):
        def before(self, operation: str, path: Path) -> None:
            if operation == "create" and "step-00000014" in str(path):
                time.sleep(0.5)  # some steps of this model

    def slow(rank: int) -> None:
        if rank == 1:
            rows.Disk = Slow

    own = (*SMOOTH, *FSDP, "train.accumulate=2")
    assert ranks.train(2, slow, what=str(recipe), run=run, changes=own) == [0, 0]
    assert runs.files(run, "step-00000014") == runs.files(sharded[2], "step-00000014")


@pytest.mark.slow
def test_one_process_verifies_replays_and_uses_what_many_have_saved(
    sharded: dict[int, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run = sharded[4]
    assert main(["verify", str(run)]) == 0
    assert main(["generate", str(run), "--prompt", "red", "--tokens", "4"]) == 0
    assert main(["evaluate", str(run)]) == 0
    assert main(["replay", str(run), "--step", "16"]) == 0
    capsys.readouterr()
    path = run / "final" / "optim-00003-of-00004.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert main(["verify", str(run)]) == 3
    assert "optim-00003-of-00004.safetensors" in capsys.readouterr().out
    path.write_bytes(data)
    assert verify(Checkpoint(0, 20, run)) == []
