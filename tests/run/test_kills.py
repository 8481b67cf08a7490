"""Killed at any instant, inside saves and outside, a run ends as the one that nobody disturbed."""

import os
import random
import shutil
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from surefoot.run.ending import trained
from surefoot.run.going_on import newest_content
from surefoot.run.opening import Opening, go_on, read_data
from surefoot.run.resuming import stored
from surefoot.shelf.checkpoint import candidates
from surefoot.shelf.disk import Disk
from surefoot.shelf.load import fallback, newest
from surefoot.shelf.lock import Lock
from tests.shelf.disks import Mortal, flip

from . import runs
from .test_faults import opened

# one save is nearly always under way, and little else takes time
OFTEN: dict[str, Any] = {"save__every": 2, "val__batches": 4}


@dataclass(slots=True)
class Met:
    """What the kills met."""

    deaths: int = 0
    inside: int = 0  # a save
    checkpoints: set[str] = field(default_factory=set)

    def saw(self, folder: Path, code: int) -> None:
        """Take one end in."""
        assert code in (0, 128 + signal.SIGKILL)
        if code:
            self.deaths += 1
            self.inside += any((folder / "run").glob(".tmp-step-*"))
            self.checkpoints |= {one.name for one in candidates(folder / "run")[:1]}


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """The run that nobody disturbed, and how many changes it made to its disk."""
    folder, disk = tmp_path_factory.mktemp("twin"), Mortal()
    assert trained(opened(folder, disk, **OFTEN), runs.quiet()).exit == 0
    return folder / "run", disk.count


def onward(folder: Path, disk: Disk) -> int:
    """Begin a run, or go on with what is left of it."""
    place = folder / "run"
    if not (place / "recipe.toml").is_file():
        shutil.rmtree(place, ignore_errors=True)
        return trained(opened(folder, disk, **OFTEN), runs.quiet()).exit
    recipe, dataset = read_data(stored(place))
    lock = Lock(place, disk)
    old = newest_content(place, None, disk)
    run = go_on(Opening(recipe, dataset), place, lock, old, disk)
    return trained(run, runs.quiet()).exit


def ends_as(run: Path, twin: Path) -> None:
    """Hold a run against its twin: each line, each byte but where its own text lies."""
    assert runs.journal(run) == runs.journal(twin)
    mine, other = runs.files(run), runs.files(twin)
    assert {name for name in mine if mine[name] != other[name]} <= {"recipe.toml"}
    kept = [[one.step for one in candidates(folder)] for folder in (run, twin)]
    assert kept[0] == kept[1]
    assert list(run.glob(".tmp-*")) == []


def kill_and_resume(twin: tuple[Path, int], tmp_path: Path, kills: int) -> Met:
    """Kill each of many runs at a change of the disk, and what goes on then by the clock."""
    undisturbed, count = twin
    draw, met = random.Random(11), Met()
    began = time.monotonic()
    assert runs.ended(runs.forked(lambda: onward(tmp_path / "timed", Disk()))) == 0
    length = time.monotonic() - began
    while met.deaths < kills:  # one that was done before its kill came does not count
        folder = tmp_path / "killed"
        at = draw.randint(1, count * 2 // 3)
        met.saw(folder, runs.ended(runs.forked(lambda: onward(folder, Mortal(at)))))  # noqa: B023
        pid = runs.forked(lambda: onward(folder, Disk()))  # noqa: B023
        met.saw(folder, runs.killed_after(pid, draw.uniform(0.02, 0.6) * length))
        assert runs.ended(runs.forked(lambda: onward(folder, Disk()))) == 0  # noqa: B023
        ends_as(folder / "run", undisturbed)
        shutil.rmtree(folder)
    return met


def test_killed_at_20_random_instants_and_resumed_it_equals_its_twin(
    twin: tuple[Path, int], tmp_path: Path
) -> None:
    met = kill_and_resume(twin, tmp_path, kills=20)
    assert met.deaths >= 20
    assert met.inside >= 3


@pytest.mark.soak
def test_killed_at_200_random_instants_and_resumed_it_equals_its_twin(
    twin: tuple[Path, int], tmp_path: Path
) -> None:
    met = kill_and_resume(twin, tmp_path, kills=200)
    assert met.deaths >= 200
    assert met.inside >= 50
    assert len(met.checkpoints) >= 15


class Dying(Disk):
    """Ends its process when the first checkpoint would be committed."""

    def before(self, operation: str, path: Path) -> None:
        if operation == "create" and path.name == "COMMIT":
            os.kill(os.getpid(), signal.SIGKILL)


def test_what_the_very_first_save_left_half_done_is_swept(
    twin: tuple[Path, int], tmp_path: Path
) -> None:
    pid = runs.forked(lambda: onward(tmp_path, Dying()))
    assert runs.ended(pid) == 128 + signal.SIGKILL
    assert list((tmp_path / "run").glob(".tmp-step-00000002-*"))
    assert onward(tmp_path, Disk()) == 0
    ends_as(tmp_path / "run", twin[0])


@pytest.mark.slow
def test_killed_at_each_change_that_opening_a_run_makes_it_equals_its_twin(
    twin: tuple[Path, int], tmp_path: Path
) -> None:
    undisturbed, _ = twin
    stopped = tmp_path / "stopped"
    pid = runs.forked(lambda: onward(stopped, Disk()))
    while not (stopped / "run" / "step-00000020").exists():
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    runs.ended(pid)
    for at in range(1, 40, 4):
        folder = tmp_path / f"{at}"
        shutil.copytree(stopped, folder, symlinks=True)
        code = runs.ended(runs.forked(lambda folder=folder, at=at: onward(folder, Mortal(at))))
        assert code == 128 + signal.SIGKILL
        assert runs.ended(runs.forked(lambda folder=folder: onward(folder, Disk()))) == 0
        ends_as(folder / "run", undisturbed)


def flips_are_found(run: Path, count: int) -> None:
    """Flip a bit, load, flip it back: each time the checkpoint before is used, and said so."""
    draw = random.Random(3)
    last, before = candidates(run)[:2]
    files = sorted(last.path.iterdir())
    sizes = [file.stat().st_size for file in files]
    for number in range(count):
        # half of them spread evenly over the files, half by size
        file = files[number // 2 % len(files)] if number % 2 else draw.choices(files, sizes)[0]
        bit = draw.getrandbits(40)
        flip(file, bit)
        content, skipped = newest(run)
        assert content.step == before.step, f"bit {bit} of {file.name} was not found"
        again = f"{last.step - before.step} steps will be trained again, exactly as before."
        said = fallback(skipped, content)
        assert said.startswith(f"{last.name} is damaged (")
        assert said.endswith(f"Going on from {before.name}: {again}")
        flip(file, bit)
    assert newest(run)[0].step == last.step


def test_each_of_20_flipped_bits_of_a_real_checkpoint_is_found(twin: tuple[Path, int]) -> None:
    flips_are_found(twin[0], 20)


@pytest.mark.slow
def test_each_of_200_flipped_bits_of_a_real_checkpoint_is_found(twin: tuple[Path, int]) -> None:
    flips_are_found(twin[0], 200)
