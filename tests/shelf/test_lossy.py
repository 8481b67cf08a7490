"""A power cut at any moment: a checkpoint that was said to be there is there, with its journal."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from surefoot.errors import ShelfError
from surefoot.records import Step
from surefoot.shelf import format as layout
from surefoot.shelf.journal import Journal, prefix_sha
from surefoot.shelf.load import newest
from surefoot.shelf.shelf import Shelf
from tests.shelf import toy
from tests.shelf.lossy import Operation, Traced, cuts

SAVES = 5


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Operation]]:
    """All that five saves with keep = 1 do to the disk, and where each of them returned."""
    run, disk = tmp_path_factory.mktemp("traced"), Traced()
    store = Shelf(run, keep=1, disk=disk)
    store.journal = Journal(run / "journal.jsonl", disk)
    for step in range(1, SAVES + 1):
        store.journal.write(Step(step=step, loss=1.0, ce=1.0, grad_norm=1.0))
        store.save(toy.content(step), "regular")
    store.journal.close()
    trace: list[Operation] = []
    for one in disk.trace:
        what, path, _ = one
        named = trace and trace[-1][0] == "rename" and trace[-1][2].name.startswith("step-")
        trace.append(one)
        if what == "fsync_folder" and path == run and named:
            trace.append(("returned", trace[-2][2], None))
    assert sum(what == "returned" for what, _, _ in trace) == SAVES
    return run, trace


def violation(where: Path, promised: int) -> str:
    """What is wrong with what was found after a cut, if anything is."""
    try:
        found, _ = newest(where)
    except ShelfError:
        return f"no checkpoint, and step {promised} was promised" if promised else ""
    if found.step < promised:
        return f"step {found.step}, and step {promised} was promised"
    assert found.journal is not None, "a checkpoint knows its place in the journal"
    journal = where / "journal.jsonl"
    if not journal.exists() or prefix_sha(journal, found.journal.bytes) != found.journal.sha256:
        return f"step {found.step} remembers lines that the journal has not"
    return ""


def violations(
    run: Path, trace: list[Operation], where: Path, draws: int, enough: int = 10**9
) -> tuple[int, list[str]]:
    """Try so many states for a cut after each operation; the states, and what is wrong."""
    promised = [0]
    for what, path, _ in trace:
        step = layout.parse_name(path.name) if what == "returned" else None
        promised.append(step[1] if step is not None else promised[-1])
    states, found = 0, []
    for number in cuts(trace, run, where, draws, random.Random(7)):
        states += 1
        if said := violation(where, promised[number + 1]):
            found.append(f"cut after {trace[number][:2]}: {said}")
            if len(found) >= enough:
                break
    return states, found


def test_a_power_cut_at_any_operation_loses_nothing_that_was_promised(
    traced: tuple[Path, list[Operation]], tmp_path: Path
) -> None:
    states, found = violations(*traced, tmp_path / "left", draws=1)
    assert found == []
    assert states > 150


@pytest.mark.slow
def test_two_thousand_states_after_a_power_cut_lose_nothing(
    traced: tuple[Path, list[Operation]], tmp_path: Path
) -> None:
    states, found = violations(*traced, tmp_path / "left", draws=12)
    assert found == []
    assert states >= 2000


def file(name: str) -> Callable[[Operation], bool]:
    return lambda one: one[0] == "fsync" and one[1].name == name


def tmp_folder(one: Operation) -> bool:
    return one[0] == "fsync_folder" and one[1].name.startswith(".tmp-step-")


def run_folder(one: Operation) -> bool:
    return one[0] == "fsync_folder" and not one[1].name.startswith(".tmp-")


LEFT_OUT: dict[str, Callable[[Operation], bool]] = {
    **{part: file(part) for part in (*layout.PARTS, layout.MANIFEST, layout.COMMIT)},
    "journal.jsonl": file("journal.jsonl"),
    "the folder beside": tmp_folder,
    "the run's folder": run_folder,
}


@pytest.mark.slow
@pytest.mark.parametrize("what", LEFT_OUT)
def test_each_fsync_that_is_left_out_is_found(
    what: str, traced: tuple[Path, list[Operation]], tmp_path: Path
) -> None:
    run, trace = traced
    without = [one for one in trace if not LEFT_OUT[what](one)]
    assert len(without) < len(trace)
    _, found = violations(run, without, tmp_path / "left", draws=12, enough=1)
    assert found, f"nobody noticed that {what} was never made durable"
