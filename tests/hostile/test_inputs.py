"""What a stranger made is refused with one sentence, soon, and nothing else is touched."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.hostile import inputs
from tests.hostile.sandbox import check_refused, tried
from tests.run import runs

KINDS = {
    "recipe": inputs.RECIPES,
    "corpus": inputs.CORPORA,
    "tokenizer": inputs.TOKENIZERS,
    "weights": inputs.WEIGHTS,
    "log": inputs.LOGS,
}
ALL = {f"{kind}-{name}": make for kind, made in KINDS.items() for name, make in made.items()}


@pytest.fixture(scope="module", autouse=True)
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of ours, which also has everything imported before a child is forked."""
    folder = tmp_path_factory.mktemp("base")
    changes = ("train.steps=2", "save.every=2", "val.every=0", "val.batches=1")
    assert runs.start(runs.place(folder), folder / "run", changes=changes).exit == 0
    for words in (["preflight", "none.toml"], ["diagnose", "none"], ["generate", "none"]):
        assert tried(words, folder).code == 2
    return folder / "run"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    runs.place(tmp_path / "box")  # a recipe of the user's own
    return tmp_path / "box"


@pytest.mark.parametrize("name", ALL)
def test_a_hostile_input_is_refused(name: str, place: Path) -> None:
    check_refused(tried(ALL[name](place), place), place)
    assert not (place / "canary").exists()


@pytest.mark.parametrize("name", inputs.RUNS)
def test_a_hostile_run_is_refused(name: str, place: Path, base: Path) -> None:
    make: Callable[[Path, Path], Sequence[str]] = inputs.RUNS[name]
    check_refused(tried(make(place, base), place), place)
    assert not (place / "canary").exists()


def test_there_are_enough_of_them() -> None:
    assert len(list(itertools.chain(ALL, inputs.RUNS))) >= 100
