"""Every finding that a monitor can tell is listed with what it means, without being imported."""

import ast
from collections.abc import Iterator

from surefoot import kinds
from surefoot.guard.meanings import meanings
from surefoot.verbs import list as listing


def told() -> Iterator[str]:
    """Give each id that a monitor's file makes a finding with."""
    for name in kinds.own("monitors"):
        tree = ast.parse((kinds.folder("monitors") / f"{name}.py").read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Finding":
                (own,) = [word.value for word in node.keywords if word.arg == "id"]
                yield own.value if isinstance(own, ast.Constant) else ast.unparse(own)


def test_every_id_of_a_monitor_has_a_meaning_and_no_other_has() -> None:
    assert set(told()) | set(kinds.own("monitors")) == set(meanings())
    assert all(sentence.endswith(".") and len(sentence) > 20 for sentence in meanings().values())
    assert listing.choices("findings") == meanings()


def test_a_choices_first_sentence_is_that_of_its_syntax_tree() -> None:
    for kind in kinds.ROOMS:
        for name in kinds.own(kind):
            path = kinds.folder(kind) / f"{name}.py"
            whole = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
            assert kinds.sentence(path) == whole.split("\n\n", 1)[0].replace("\n", " ")
