"""The rule book is read off the rules, and its page is up to date."""

import ast

import pytest

from surefoot import kinds
from surefoot.guard import book
from tests.house_rules import ROOT


def test_the_page_of_rules_is_what_the_rules_say() -> None:
    page = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
    assert page == book.page(), "write it anew: python -m tests.guard.write_page"


def test_no_id_stands_in_two_files() -> None:
    ids = [
        entry.id
        for n in kinds.own("rules")
        for entry in book.read(kinds.folder("rules") / f"{n}.py", n)
    ]
    ids += list(book.elsewhere())
    assert len(ids) == len(set(ids)) and len(ids) >= 43


@pytest.mark.parametrize("entry", [*book.entries().values(), *book.elsewhere().values()])
def test_each_entry_says_what_it_looks_for_and_how_hard(entry: book.Entry) -> None:
    assert entry.sentence and not entry.sentence.endswith(".")
    assert set(entry.severity.split(", ")) <= {"refuse", "refuse!", "warn", "note"}
    assert all(
        seed in {"000", "001", "002", "003", "004"} for seed in entry.source.split(", ") if seed
    )


@pytest.mark.parametrize("place", book.ELSEWHERE)
def test_what_is_refused_elsewhere_is_named_where_it_happens(place: str) -> None:
    told = "".join(
        ast.unparse(ast.parse(path.read_text(encoding="utf-8")))
        for path in kinds.HERE.rglob("*.py")
        if "rules" not in path.parts
    )
    for entry in book.elsewhere().values():
        if entry.file == place and entry.id != "memory_units":
            assert f"({entry.id})" in told
