"""Every reader knows its own logs, reads them row by row, and survives what is left of them."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from surefoot import kinds
from surefoot.errors import SurefootError
from surefoot.guard.following import Following
from surefoot.guard.rows import Fact, Reading, Row
from surefoot.guard.series import Asked
from surefoot.guard.text import head_of
from surefoot.records import Eval, Event, Remedy, Step
from tests.house_rules import ROOT

LOGS = ROOT / "tests" / "data" / "logs" / "readers"
READERS = kinds.names("readers")


def log(name: str) -> Path:
    """Find a reader's own log: a reader without one fails here."""
    found = list(LOGS.glob(f"{name}.*"))
    assert len(found) == 1, f"tests/data/logs/readers needs one log called {name}"
    return found[0]


def needs(name: str) -> None:
    """Skip what needs an extra that isn't installed."""
    if name == "tensorboard":
        pytest.importorskip("tensorboard", reason="the extra [tensorboard] is not installed")


def steps(name: str, path: Path, reading: Reading) -> list[tuple[int, dict[str, float]]]:
    """Read a log into steps and their numbers."""
    found: list[tuple[int, dict[str, float]]] = []
    for one in kinds.find("readers", name).read(path, reading):
        if isinstance(one, Row):
            found.append((one.step, dict(one.values)))
        elif isinstance(one, Step):
            found.append((one.step, {"loss": one.loss, "grad_norm": one.grad_norm}))
    return found


@pytest.mark.parametrize("name", READERS)
def test_it_is_the_surest_of_its_own_log(name: str) -> None:
    path = log(name)
    head = head_of(path)
    sure = {other: kinds.find("readers", other).claims(head, path) for other in READERS}
    assert max(sure, key=lambda other: sure[other]) == name
    assert all(0.0 <= share <= 1.0 for share in sure.values())


@pytest.mark.parametrize("name", READERS)
def test_it_claims_nothing_of_prose_and_of_nothing(name: str, tmp_path: Path) -> None:
    path = tmp_path / "words"
    for text in ("", "A step is a loss.\nThe loss at step 3, so it goes.\n", "{}\n", "[1]\n"):
        path.write_text(text)
        assert kinds.find("readers", name).claims(text, path) < 0.71 if text == "{}\n" else True
        if not text.startswith("{"):
            assert kinds.find("readers", name).claims(text, path) == 0.0


@pytest.mark.parametrize("name", READERS)
def test_it_streams_rows_in_the_order_of_their_steps(name: str) -> None:
    needs(name)
    told = kinds.find("readers", name).read(log(name), Reading())
    assert isinstance(told, Iterator)
    for one in told:
        assert isinstance(one, Row | Fact | Step | Eval | Event | Remedy)
    reading = Reading()
    rows = steps(name, log(name), reading)
    numbers = [step for step, _ in rows]
    assert len(rows) > 10 and "loss" in reading.fields
    # tables begin anew; every other log rises
    assert numbers == sorted(numbers) or name == "table"
    assert sum("loss" in values for _, values in rows) > 10


@pytest.mark.parametrize("name", READERS)
def test_cut_anywhere_it_gives_the_rows_before_the_cut(name: str, tmp_path: Path) -> None:
    needs(name)
    whole = log(name).read_bytes()
    full = dict(steps(name, log(name), Reading()))
    path = tmp_path / log(name).name
    draw = random.Random(name)
    for _ in range(12 if name == "tensorboard" else 40):
        path.write_bytes(whole[: draw.randrange(len(whole))])
        found = steps(name, path, Reading())
        for step, values in found[:-1] if name != "table" else ():
            assert repr(values) == repr(full[step])


@pytest.mark.parametrize("name", READERS)
def test_damaged_in_any_way_it_is_read_or_refused_in_words(name: str, tmp_path: Path) -> None:
    needs(name)
    path = tmp_path / log(name).name
    for seed in range({"tensorboard": 30, "surefoot": 60}.get(name, 140)):
        path.write_bytes(damaged(log(name).read_bytes(), random.Random(f"{name}{seed}")))
        following = Following("", Asked(vocab=100, label_smoothing=0.1))
        try:
            for one in kinds.find("readers", name).read(path, Reading()):
                if isinstance(one, Row):
                    following.take(one)
                elif isinstance(one, Step | Eval | Event | Remedy):
                    following.record(one)
            following.end()
        except SurefootError as error:
            assert error.problems
        assert not [one for one in following.found if one.id == "monitor_failed"]


def damaged(raw: bytes, draw: random.Random) -> bytes:
    """Flip, cut, double, swap and spoil parts of a log."""
    data = bytearray(raw)
    for _ in range(draw.randint(1, 12)):
        kind, at = draw.randrange(6), draw.randrange(len(data))
        if kind == 0:
            data[at] = draw.randrange(256)
        elif kind == 1:
            del data[at : at + draw.randint(1, 200)]
        elif kind == 2:
            data[at:at] = data[at : at + draw.randint(1, 400)]
        elif kind == 3:
            data[at:at] = draw.choice(
                [b"nan", b"1e999", b"-", b",", b";", b"\n", b"\r", b"\0", b'"']
            )
        elif kind == 4:
            data[at:at] = draw.choice(
                [b"\x1b[31m", b"\xff\xfe", "—".encode(), b"9" * 400, b"[{" * 99]
            )
        else:
            rows = data.splitlines(keepends=True)
            draw.shuffle(rows)
            data = bytearray(b"".join(rows))
        data = data or bytearray(b"x")
    return bytes(data)


def test_without_its_library_tensorboard_is_a_sentence() -> None:
    from surefoot.guard.readers import tensorboard

    problem = tensorboard.missing(Path("events.out.tfevents.1"))
    assert 'pip install "surefoot[tensorboard]"' in str(problem)
