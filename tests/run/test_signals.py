"""Signals: the first saves and leaves, the second leaves, and no terminal is needed for either."""

import json
import os
import pty
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from surefoot.records import End, Event, read
from surefoot.run.asked import Asked
from surefoot.run.ending import trained
from surefoot.run.run import Run
from surefoot.run.session import session
from surefoot.run.signals import Signals
from surefoot.shelf.checkpoint import candidates, verify
from surefoot.shelf.disk import Disk
from surefoot.show.terminal import Terminal

from . import runs
from .test_faults import opened
from .test_resume import wait_for_step


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run that nobody disturbed."""
    run = opened(tmp_path_factory.mktemp("twin"))
    assert trained(run, runs.quiet()).exit == 0
    return run.folder


class Waiting(Disk):
    """Waits for ever over the COMMIT of one checkpoint."""

    def __init__(self, step: int) -> None:
        self.step = step

    def before(self, operation: str, path: Path) -> None:
        if operation == "create" and path.name == "COMMIT" and f"{self.step:08d}" in str(path):
            time.sleep(600)


class Signalling(Disk):
    """Signals its own process when the folder of one checkpoint is made."""

    def __init__(self, step: int) -> None:
        self.step = step

    def before(self, operation: str, path: Path) -> None:
        if operation == "mkdir" and f"{self.step:08d}" in path.name:
            os.kill(os.getpid(), signal.SIGTERM)


class Early(Signals):
    """Catches one before the first step."""

    def __enter__(self) -> Signals:
        super().__enter__()
        os.kill(os.getpid(), signal.SIGTERM)
        return self


def slow_from(run: Run, step: int) -> None:
    """Let a step take for ever, once the save that runs beside it has ended."""
    sound = run.learner.loss

    def loss(*given: Any, **more: Any) -> Any:
        if run.progress.step + 1 == step:
            run.saver.settle(run)
            time.sleep(600)
        return sound(*given, **more)

    run.learner.loss = loss


def child(folder: Path, make: Callable[[], Run]) -> int:
    """Train in a process of its own, whose stderr lies in a file."""

    def act() -> int:
        os.dup2(os.open(folder / "stderr", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
        return trained(make(), runs.quiet()).exit

    return runs.forked(act)


def goes_on(run: Path, twin: Path) -> None:
    """What was stopped goes on to the same end."""
    assert runs.resume(run).exit == 0
    assert runs.journal(run) == runs.journal(twin)
    for name in ("model.safetensors", "optim.safetensors", "state.json"):
        assert runs.files(run)[name] == runs.files(twin)[name]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_second_signal_leaves_at_once_and_names_the_last_checkpoint(
    number: int, code: int, twin: Path, tmp_path: Path
) -> None:
    def make() -> Run:
        run = opened(tmp_path)
        slow_from(run, 18)
        return run

    pid = child(tmp_path, make)
    wait_for_step(tmp_path / "run", 17)
    runs.wait_for(tmp_path / "run" / "journal.jsonl", '"saved","step":15')
    os.kill(pid, number)
    runs.wait_for(
        tmp_path / "stderr", "stopping after this step (again: leave now, the last save is "
    )
    began = time.monotonic()
    os.kill(pid, number)
    assert runs.ended(pid) == code
    assert time.monotonic() - began < 10
    assert "ended at once; last checkpoint step-00000015" in (tmp_path / "stderr").read_text()
    goes_on(tmp_path / "run", twin)


def test_a_signal_before_the_first_step_has_nothing_to_save(tmp_path: Path) -> None:
    def make() -> Run:
        run = opened(tmp_path)
        run.signals = Early(60.0)
        return run

    assert runs.ended(child(tmp_path, make)) == 75
    assert candidates(tmp_path / "run") == []
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert (status["state"], status["exit"], status["step"]) == ("stopped", 75, 0)
    assert status["reason"] == "signal SIGTERM; nothing to save"
    assert status["resumable"] is False
    assert "nothing is saved yet" in (tmp_path / "stderr").read_text()


def test_a_signal_in_preflight_ends_the_process_as_any_other(tmp_path: Path) -> None:
    class Impatient(Terminal):
        def plan(self, *told: Any) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    recipe, run = runs.place(tmp_path), tmp_path / "run"
    asked = Asked(what=str(recipe), run=run, timed=False)
    pid = runs.forked(lambda: session(asked, Impatient(plain=True, quiet=True)).exit)
    assert runs.ended(pid) == 128 + signal.SIGTERM
    assert not run.exists()
    assert runs.start(recipe, run, changes=("train.steps=3",)).exit == 0


def test_a_signal_while_the_training_waits_for_a_save_makes_no_second_one(
    twin: Path, tmp_path: Path
) -> None:
    make: Callable[[], Run] = lambda: opened(tmp_path, Signalling(20), save__background=False)  # noqa: E731
    assert runs.ended(child(tmp_path, make)) == 75
    there = candidates(tmp_path / "run")
    assert [(one.step, verify(one)) for one in there] == [(20, []), (15, []), (10, [])]
    told = [r for r in read(tmp_path / "run" / "journal.jsonl") if isinstance(r, Event)]
    assert [r.step for r in told if "saved" in r.name] == [10, 15, 20]
    goes_on(tmp_path / "run", twin)


def test_a_signal_during_a_save_beside_the_training_loses_no_step(
    twin: Path, tmp_path: Path
) -> None:
    assert runs.ended(child(tmp_path, lambda: opened(tmp_path, Signalling(20)))) == 75
    there = candidates(tmp_path / "run")
    assert all(verify(one) == [] for one in there)
    assert 20 in [one.step for one in there], "the save that was under way was finished"
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert status["saved"] == status["step"] == there[0].step
    assert list((tmp_path / "run").glob(".tmp-*")) == []
    goes_on(tmp_path / "run", twin)


def test_when_the_grace_is_over_the_last_commit_stands(twin: Path, tmp_path: Path) -> None:
    pid = child(tmp_path, lambda: opened(tmp_path, Waiting(20), save__grace_s=0.3))
    wait_for_step(tmp_path / "run", 20)
    os.kill(pid, signal.SIGTERM)
    assert runs.ended(pid) == 128 + signal.SIGTERM
    said = (tmp_path / "stderr").read_text()
    assert "the 0.3 s of save.grace_s are over: ended at once; last checkpoint step-" in said
    assert [(one.step, verify(one)) for one in candidates(tmp_path / "run")] == [(15, []), (10, [])]
    goes_on(tmp_path / "run", twin)


def test_a_run_whose_terminal_is_closed_saves_and_leaves(tmp_path: Path) -> None:
    recipe, run = runs.place(tmp_path), tmp_path / "run"
    pid, screen = pty.fork()
    if pid == 0:
        code = 99
        try:
            with open(2, "w", closefd=False) as stream:
                asked = Asked(what=str(recipe), run=run, timed=False)
                code = session(asked, Terminal(stream=stream)).exit
        finally:
            os._exit(code)
    shown = b""
    while b"11" not in shown:  # read, or its writer waits once the pipe is full
        shown += os.read(screen, 1 << 16)
    wait_for_step(run, 11)
    os.close(screen)
    assert runs.ended(pid) == 75
    status = json.loads((run / "status.json").read_text())
    assert status["reason"] == "signal SIGHUP"
    assert status["saved"] == status["step"] == candidates(run)[0].step
    assert "signal SIGHUP" in (run / "train.log").read_text()
    assert runs.resume(run).exit == 0


def test_a_terminal_that_goes_away_without_a_signal_stops_nothing(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    recipe = runs.place(tmp_path)
    asked = Asked(what=str(recipe), run=tmp_path / "run", changes=("train.steps=5",), timed=False)
    with open(write_end, "w") as stream:  # noqa: PTH123 (an open descriptor)
        terminal = Terminal(plain=True, quiet=True, stream=stream)
        assert session(asked, terminal).exit == 0
    assert "finished" in (tmp_path / "run" / "train.log").read_text()


def test_what_was_ignored_stays_ignored(tmp_path: Path) -> None:
    def act() -> int:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
        run = opened(tmp_path)
        run.journal.subscribe(lambda r: os.kill(os.getpid(), signal.SIGHUP))
        return trained(run, runs.quiet()).exit

    assert runs.ended(runs.forked(act)) == 0


def test_a_grace_that_is_not_needed_ends_nobody() -> None:
    signals = Signals(0.2)
    with signals:
        os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.4)
    assert signals.caught == signal.SIGTERM, "and this process still lives"


SLURM = Path(__file__).parents[2] / "docs" / "questions.md"
SRUN = """#!/bin/sh
"$@" &
pid=$!
trap 'kill -USR1 $pid' USR1
while ! grep -qs '"step":12,' "$RUN/journal.jsonl"; do sleep .05; done
[ -e first ] || { touch first; kill -USR1 $pid; }
wait $pid
"""


@pytest.mark.slow
def test_the_batch_script_of_the_documents_is_requeued_and_goes_on(tmp_path: Path) -> None:
    import subprocess

    script = SLURM.read_text().partition("```slurm\n")[2].partition("```")[0]
    recipe = runs.place(tmp_path)
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, text in (("srun", SRUN), ("scontrol", '#!/bin/sh\necho "$@" >> requeued\n')):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    (tmp_path / "job.sh").write_text(script.replace("my.toml", str(recipe)))
    here = Path(sys.executable).parent
    env = {
        **os.environ,
        "PATH": f"{tools}:{here}:{os.environ['PATH']}",
        "RUN": "runs/mine",
        "SLURM_JOB_ID": "4711",
    }
    for codes in (75, 0):
        subprocess.run(["bash", "job.sh"], cwd=tmp_path, env=env, check=False, timeout=300)
        status = json.loads((tmp_path / "runs" / "mine" / "status.json").read_text())
        assert status["exit"] == codes
    assert (tmp_path / "requeued").read_text() == "requeue 4711\n"
    ends = [r for r in read(tmp_path / "runs" / "mine" / "journal.jsonl") if isinstance(r, End)]
    assert [end.reason for end in ends] == ["signal SIGUSR1", ""]
