"""Several ranks are one run: the same curve, the same bits where asked, one stop, one journal."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from surefoot import cli
from surefoot.errors import RunError
from surefoot.learn import ranks as learnt
from surefoot.learn.learner import Learner
from surefoot.model.batch import Batch
from surefoot.records import Step, read
from surefoot.run import following, leading
from surefoot.run.leading import Lead
from surefoot.shelf.load import find, load
from surefoot.shelf.lock import host_hash, start_time

from . import ranks, runs
from .test_rewind import Planted

QUICK = ("val.every=0", "save.every=7", "guard.audit_after=0")
SHORT = (*QUICK, "train.steps=20")
ROWS = 8  # of a step: two rows a micro-batch, four of these
EXACT = (*SHORT, "distributed.reduce=exact", "distributed.lanes=4")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny run's recipe."""
    return runs.place(tmp_path_factory.mktemp("recipe"))


@pytest.fixture(scope="module")
def rings(recipe: Path) -> dict[int, Path]:
    """One run with 1, 2 and 4 ranks, summed the fast way."""
    # Newton-Schulz makes noise of rounding: with Muon norms differ by 1.3e-4 at the eighth step
    smooth = ("optim.matrix.kind=adam", "optim.matrix.lr=0.003")
    return trained(recipe, recipe.parent, (*SHORT, *smooth))


@pytest.fixture(scope="module")
def exact(recipe: Path) -> dict[int, Path]:
    """The same, summed the exact way."""
    return trained(recipe, recipe.parent / "exact", EXACT)


def trained(recipe: Path, place: Path, changes: tuple[str, ...]) -> dict[int, Path]:
    """Train with the same micro-batches on 1, 2 and 4 ranks."""
    place.mkdir(exist_ok=True)
    found = {world: place / f"w{world}" for world in (1, 2, 4)}
    for world, run in found.items():
        own = (*changes, f"train.accumulate={4 // world}")
        assert ranks.train(world, what=str(recipe), run=run, changes=own) == [0] * world
    return found


def bare(run: Path) -> list[Any]:
    """Give the lines that an equal run with any number of ranks writes again."""
    return [json.loads(line) for line in runs.journal(run)]


@pytest.mark.parametrize("world", [2, 4])
def test_the_curve_is_that_of_one_rank(rings: dict[int, Path], world: int) -> None:
    alone, shared = ranks.steps(rings[1]), ranks.steps(rings[world])
    assert len(alone) == len(shared) == 20
    for one, other in zip(alone, shared, strict=True):
        assert other["batch_hash"] == one["batch_hash"]
        assert other["valid_tokens"] == one["valid_tokens"]
        assert other["loss"] == pytest.approx(one["loss"], rel=1e-5)
        assert other["grad_norm"] == pytest.approx(one["grad_norm"], rel=1e-4)
        assert set(other["loss_checksum"]) == {str(rank) for rank in range(world)}
        assert len(set(other["loss_checksum"].values())) == 1
        assert len(other["rank_age_s"]) == world
    assert {raw["layer_out_rms"][0] for raw in alone if "layer_out_rms" in raw}


@pytest.mark.parametrize("world", [2, 4])
def test_the_exact_sum_has_the_bits_of_one_rank(exact: dict[int, Path], world: int) -> None:
    assert bare(exact[world]) == bare(exact[1])
    assert runs.files(exact[world]) == runs.files(exact[1])


def test_a_run_that_changes_its_ranks_on_the_way_has_the_same_bits(
    recipe: Path, exact: dict[int, Path], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    own = (*EXACT, "train.accumulate=1")
    stop = {"what": str(recipe), "run": run, "changes": own}
    for world, until in ((4, 6), (1, 11)):
        codes = ranks.train(world, act=lambda rank, u=until: stop_after(u), **stop)
        assert codes[0] == 75
        stop = {"named": False, "resume": str(run)}
    assert ranks.train(2, **stop) == [0, 0]
    assert bare(run) == bare(exact[1])
    assert runs.files(run) == runs.files(exact[1])
    heads = [raw["world"] for raw in runs.rows(run / "journal.jsonl") if raw["kind"] == "run"]
    assert heads == [4, 1, 2]


def stop_after(step: int) -> None:
    """Have this process signal itself in a step, whichever rank it is, but only the last rank."""
    if int(os.environ["RANK"]) == int(os.environ["WORLD_SIZE"]) - 1:
        on_batch(step, lambda: os.kill(os.getpid(), signal.SIGTERM))


def on_batch(step: int, act: Any) -> None:
    """Act while this rank learns its first micro-batch of a step."""
    inner, acted = Learner.__init__, list[int]()

    def init(self: Learner, *args: Any, **named: Any) -> None:
        inner(self, *args, **named)
        loss = self.loss

        def acting(batch: Batch, *told: Any) -> Any:
            if batch.position >= (step - 1) * ROWS and not acted:
                acted.append(step)
                act()
            return loss(batch, *told)

        self.loss = acting

    Learner.__init__ = init


def test_a_rewind_takes_all_ranks_back_and_skips_their_data(recipe: Path, tmp_path: Path) -> None:
    inner = Lead.begin

    def begin(self: Lead, run: Any) -> None:
        run.watch = Planted(run.watch)
        inner(self, run)

    def plant(rank: int) -> None:
        Lead.begin = begin

    lasting = ("val.every=0", "save.every=10", "guard.audit_after=0", "train.steps=50")
    lasting = (*lasting, "distributed.reduce=exact", "distributed.lanes=4")
    found = {world: tmp_path / f"w{world}" for world in (1, 2)}
    for world, run in found.items():
        own = (*lasting, f"train.accumulate={4 // world}")
        assert ranks.train(world, plant, what=str(recipe), run=run, changes=own) == [0] * world
    assert max(raw["generation"] for raw in ranks.steps(found[2])) == 1
    assert bare(found[2]) == bare(found[1])
    assert runs.files(found[2]) == runs.files(found[1])


def test_every_rank_holds_the_same_weights(recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    inner = following.Follower.close

    def close(self: following.Follower) -> None:
        (tmp_path / "weights").write_text(sha(self.learner.parameters | self.learner.slots()))
        inner(self)

    def act(rank: int) -> None:
        following.Follower.close = close

    assert ranks.train(2, act, what=str(recipe), run=run, changes=(*QUICK, "train.steps=5")) == [
        0,
        0,
    ]
    kept = load(find(run, "final"))
    assert (tmp_path / "weights").read_text() == sha({**kept.model, **kept.optim})


def sha(tensors: Any) -> str:
    """Hash tensors by name."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        found.update(name.encode() + tensors[name].detach().contiguous().numpy().tobytes())
    return found.hexdigest()


def test_what_two_ranks_saved_any_number_goes_on_from(recipe: Path, tmp_path: Path) -> None:
    for world in (1, 2, 4):
        run = tmp_path / f"w{world}"
        asked = {"what": str(recipe), "run": run, "changes": (*SHORT, "train.accumulate=2")}
        codes = ranks.train(2, act=lambda rank: stop_after(9), **asked)
        assert codes[0] == 75
        assert ranks.train(world, named=False, resume=str(run)) == [0] * world
        assert [raw["step"] for raw in ranks.steps(run)] == list(range(1, 21))
    refused = ranks.train(3, named=False, resume=str(tmp_path / "w1"))
    assert refused[0] == 3


def test_a_signal_to_one_rank_stops_all_after_the_same_step(recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    codes = ranks.train(2, lambda rank: stop_after(6), what=str(recipe), run=run, changes=SHORT)
    assert codes == [75, 0]
    status = json.loads((run / "status.json").read_text())
    assert (status["exit"], status["step"], status["saved"]) == (75, 6, 6)
    assert status["reason"] == "signal SIGTERM (rank 1)"


def test_a_nan_on_one_rank_is_left_out_on_all(recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"

    def spoil(rank: int) -> None:
        if rank == 1:
            inner = Learner.__init__

            def init(self: Learner, *args: Any, **named: Any) -> None:
                inner(self, *args, **named)
                loss = self.loss

                def spoilt(batch: Batch, *told: Any) -> Any:
                    value, stats = loss(batch, *told)
                    bad = batch.position in (2 * ROWS + 4, 2 * ROWS + 6)
                    return (value * float("nan") if bad else value), stats

                self.loss = spoilt

            Learner.__init__ = init

    changes = (*QUICK, "train.steps=6", "train.accumulate=2")
    assert ranks.train(2, spoil, what=str(recipe), run=run, changes=changes) == [0, 0]
    (bad,) = [s for s in read(run / "journal.jsonl") if isinstance(s, Step) and s.nonfinite]
    assert not bad.skipped
    assert bad.valid_tokens == 2 * 2 * 16
    assert len(set((bad.loss_checksum or {}).values())) == 1


@pytest.fixture
def launcher(recipe: Path) -> Iterator[list[subprocess.Popen[str]]]:
    """Ends what a test has started and not waited for."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for one in started:
        if one.poll() is None:
            one.kill()


def wait_for(run: Path, step: int, process: subprocess.Popen[str], seconds: float = 300) -> None:
    """Wait until a run has written a step."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert process.poll() is None, f"it ended with {process.poll()}"
        if (run / "journal.jsonl").is_file() and any(s["step"] >= step for s in ranks.steps(run)):
            return
        time.sleep(0.1)
    raise AssertionError(f"no step {step} in {seconds} s")


def test_a_killed_rank_is_started_again_and_the_run_goes_on(
    recipe: Path, tmp_path: Path, launcher: list[subprocess.Popen[str]]
) -> None:
    killed_and_gone_on(recipe, tmp_path / "run", 9, launcher)


def killed_and_gone_on(
    recipe: Path, run: Path, step: int, launcher: list[subprocess.Popen[str]]
) -> None:
    """Kill a rank after a step; torchrun must bring the run to its end, as one."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--max-restarts", "3", "-m", "--", "surefoot", "train", str(recipe)]
    command += ["--run", str(run), "--quiet", *QUICK]
    command += ["train.steps=60", "train.accumulate=2", "val.batches=1"]
    process = subprocess.Popen(command, text=True)
    launcher.append(process)
    wait_for(run, step, process)
    beats = (run / "heartbeat_rank1.jsonl").read_text().splitlines()
    os.kill(json.loads(beats[-1])["pid"], signal.SIGKILL)
    assert process.wait(timeout=600) == 0
    assert [raw["step"] for raw in ranks.steps(run)] == list(range(1, 61))
    heads = [raw for raw in runs.rows(run / "journal.jsonl") if raw["kind"] == "run"]
    assert len(heads) >= 2
    assert json.loads((run / "status.json").read_text())["state"] == "finished"


def test_procs_starts_the_ranks_and_gives_the_first_ones_code(
    recipe: Path, tmp_path: Path, launcher: list[subprocess.Popen[str]]
) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-m", "surefoot", "train", str(recipe), "--procs", "2", "--quiet"]
    refused = subprocess.run(
        [*command, "model.dim=17"], text=True, capture_output=True, check=False
    )
    assert refused.returncode == 2
    assert refused.stderr.count("model.dim") >= 1
    long = [*command, "--run", str(run), *QUICK, "train.steps=5000", "train.accumulate=2"]
    process = subprocess.Popen(long, text=True)
    launcher.append(process)
    wait_for(run, 3, process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=300) == 75
    status = json.loads((run / "status.json").read_text())
    assert (status["exit"], status["saved"]) == (75, status["step"])


HANGS = ("guard.monitors.heartbeat.seconds=1.5", "guard.monitors.heartbeat.first_seconds=30")


def test_a_rank_that_hangs_is_named_and_ended_and_the_run_goes_on(
    recipe: Path, exact: dict[int, Path], tmp_path: Path
) -> None:
    run = tmp_path / "run"

    def hang(rank: int) -> None:
        if rank == 1:
            on_batch(10, lambda: time.sleep(600))

    changes = (*EXACT, "train.accumulate=2", *HANGS)
    began = time.monotonic()
    assert ranks.train(2, hang, what=str(recipe), run=run, changes=changes) == [1, 1]
    assert time.monotonic() - began < 90
    log = (run / "train.log").read_text()
    assert "heartbeat" in log and "behind is rank 1 (in step) after step 9" in log
    assert "in on_batch" in log or "in <lambda>" in log, "the stack of the thread that sleeps"
    assert "is ended" in log
    assert json.loads((run / "status.json").read_text()).get("exit") is None
    assert ranks.train(2, named=False, resume=str(run)) == [0, 0]
    assert bare(run) == bare(exact[1])


def test_a_rank_that_is_suspended_for_a_while_ends_nothing(recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    asked = {"what": str(recipe), "run": run, "changes": (*SHORT, "train.accumulate=2")}
    pids = ranks.begun(2, asked)
    until = time.monotonic() + 120
    while not (run / "journal.jsonl").is_file() or len(ranks.steps(run)) < 4:
        assert time.monotonic() < until
        time.sleep(0.02)
    os.kill(pids[1], signal.SIGSTOP)
    time.sleep(20)
    os.kill(pids[1], signal.SIGCONT)
    assert [runs.ended(pid) for pid in pids] == [0, 0]
    assert "heartbeat" not in (run / "train.log").read_text()
    assert [raw["step"] for raw in ranks.steps(run)] == list(range(1, 21))


def test_ranks_with_other_code_are_refused_by_all(recipe: Path, tmp_path: Path) -> None:
    def other(rank: int) -> None:
        if rank == 1:
            inner = leading.identity
            leading.identity = lambda fingerprint: inner(fingerprint) | {"torch": "2.0"}

    run = tmp_path / "run"
    codes = ranks.train(2, other, what=str(recipe), run=run, changes=SHORT)
    assert codes == [3, 3]
    assert not run.exists() or not list(run.glob("step-*"))


@pytest.mark.parametrize("code", [4, 75])
def test_a_stop_is_no_restart(code: int, recipe: Path, tmp_path: Path) -> None:
    """As torchrun starts all ranks again after the code that it takes for a death."""
    run = tmp_path / "run"
    stopped = {"what": str(recipe), "run": run, "changes": (*SHORT, "train.accumulate=2")}

    def act(rank: int) -> None:
        (stop_after(6) if code == 75 else spoil_from(5))

    assert ranks.train(2, act, **stopped)[0] == code
    before = (run / "journal.jsonl").read_bytes()
    meeting = ranks.port()

    def again(rank: int) -> int:
        os.environ.update(ranks.of_rank(rank, 2, meeting), TORCHELASTIC_RESTART_COUNT="1")
        return cli.main(["train", str(recipe), "--run", str(run), "--quiet"])

    def begun_by(launch: str) -> None:
        header, _, rest = before.partition(b"\n")
        told = json.dumps(json.loads(header) | {"launch": launch}).encode()
        (run / "journal.jsonl").write_bytes(told + b"\n" + rest)

    begun_by(launch_of(os.getpid()))
    marked = (run / "journal.jsonl").read_bytes()
    pids = [runs.forked(lambda rank=rank: again(rank)) for rank in range(2)]
    assert [runs.ended(pid) for pid in pids] == [code, 0]
    assert (run / "journal.jsonl").read_bytes() == marked, "nothing was trained"


def launch_of(pid: int) -> str:
    """Name a launcher as its children do."""
    return f"{host_hash()}-{pid}-{start_time(pid)}"


def spoil_from(step: int) -> None:
    """Let every loss from a step on be no number."""
    inner = Learner.__init__

    def init(self: Learner, *args: Any, **named: Any) -> None:
        inner(self, *args, **named)
        loss = self.loss

        def spoilt(batch: Batch, *told: Any) -> Any:
            value, stats = loss(batch, *told)
            return (value * float("nan") if batch.position >= (step - 1) * ROWS else value), stats

        self.loss = spoilt

    Learner.__init__ = init


def test_a_rank_that_never_meets_the_others_ends_soon() -> None:
    def alone() -> int:
        learnt.MEETING = timedelta(seconds=2)
        os.environ.update(ranks.of_rank(0, 2, ranks.port()))
        try:
            learnt.Ranks(0, 2).meet()
        except RunError as error:
            return error.exit
        return 0

    began = time.monotonic()
    assert runs.ended(runs.forked(alone)) == 1
    assert time.monotonic() - began < 60


@pytest.mark.soak
def test_ten_of_ten_killed_ranks_are_started_again(
    recipe: Path, tmp_path: Path, launcher: list[subprocess.Popen[str]]
) -> None:
    for trial in range(10):
        killed_and_gone_on(recipe, tmp_path / f"run{trial}", 5 + 4 * trial, launcher)


DOCUMENT = Path(__file__).parents[2] / "docs" / "distributed.md"
SRUN = """#!/bin/sh
while [ "${1#--}" != "$1" ]; do shift; done
"$@" &
pid=$!
while ! grep -qs '"step":12,' "$RUN/journal.jsonl"; do sleep .05; done
[ -e first ] || { touch first; kill -USR1 $pid; }
wait $pid
"""
SCONTROL = """#!/bin/sh
[ "$1" = show ] && echo 127.0.0.1 || echo "$@" >> requeued
"""


def test_the_batch_script_of_several_machines_is_requeued_and_goes_on(
    recipe: Path, tmp_path: Path
) -> None:
    script = DOCUMENT.read_text().partition("```slurm\n")[2].partition("```")[0]
    script = script.replace("my.toml", f"{recipe} {' '.join(QUICK)} val.batches=1")
    (tmp_path / "job.sh").write_text(script.replace("29500", ranks.port()))
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    told = {"RUN": "runs/mine", "SLURM_JOB_ID": "4711", "SLURM_NNODES": "1"}
    told |= {"SLURM_GPUS_PER_NODE": "2", "SLURM_JOB_NODELIST": "here"}
    path = f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    for code in (75, 0):
        env = {**os.environ, **told, "PATH": path}
        subprocess.run(["bash", "job.sh"], cwd=tmp_path, env=env, check=False, timeout=300)
        status = json.loads((tmp_path / "runs" / "mine" / "status.json").read_text())
        assert status["exit"] == code
    assert (tmp_path / "requeued").read_text() == "requeue 4711\n"
    assert [s["step"] for s in ranks.steps(tmp_path / "runs" / "mine")] == list(range(1, 41))
