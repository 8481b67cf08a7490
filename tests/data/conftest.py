import random
from pathlib import Path
from types import SimpleNamespace

import pytest

from surefoot.data.dataset import Dataset, prepare
from surefoot.kinds import find

WORDS = "the,quick,brown,fox,jumps,over,a,lazy,dog,while,nine,café,owls,watch,from,an,oak"


def article(number: int) -> str:
    """Write some lines that no other number gives."""
    draw = random.Random(number)
    lines = [
        " ".join(draw.choices(WORDS.split(","), k=draw.randint(3, 9)))
        for _ in range(draw.randint(2, 9))
    ]
    return f"Article {number}\n\n" + "\n".join(lines) + "\n"


class Desk:
    """Makes datasets as a recipe would, in a folder and a cache of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.cache = folder, folder / "cache"

    def articles(self, count: int, where: str = "texts", first: int = 0) -> Path:
        place = self.folder / where
        place.mkdir(exist_ok=True)
        for number in range(first, first + count):
            (place / f"{number:04}.txt").write_text(article(number))
        return place

    def options(self, kind: str, name: str, **given):
        return find(kind, name).Options(kind=name, **given)

    def dataset(self, corpus: dict, tokenizer: str = "byte", **given) -> Dataset:
        numbers = {"seed": 0, "seq_len": 16, "rows": 4}
        share = {"share": given.pop("share", 0.05), "batches": given.pop("batches", 0)}
        own = given.pop("own", None)
        size = {name: given.pop(name) for name in ("vocab",) if name in given}
        for name in numbers:
            numbers[name] = given.pop(name, numbers[name])
        usual = {"packing": "stream", "boundaries": "ignore", "order": "shuffled"}
        data = SimpleNamespace(
            corpus=self.options("corpora", **rename(corpus)),
            tokenizer=self.options("tokenizers", tokenizer, **size),
            on_bad_line=given.pop("on_bad_line", "refuse"),
            **(usual | given),
        )
        own = None if own is None else self.options("corpora", **rename(own))
        val = SimpleNamespace(corpus=own, **share)
        return prepare(data, val, **numbers, cache=self.cache)


def rename(corpus: dict) -> dict:
    return {("name" if key == "kind" else key): value for key, value in corpus.items()}


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.chdir(tmp_path)
    return Desk(tmp_path)
