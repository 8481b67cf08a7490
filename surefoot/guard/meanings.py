"""What each finding of a monitor means: its file's first sentence, and its `ALSO` for others.

Read off the files without importing them, so that listing it costs nothing.
"""

import ast
from functools import cache
from pathlib import Path

from surefoot import kinds


@cache
def meanings() -> dict[str, str]:
    """Give every monitor's findings by id."""
    found: dict[str, str] = {}
    for name, sentence in kinds.sentences("monitors").items():
        found[name] = sentence
        if name in kinds.own("monitors"):
            found |= also(kinds.folder("monitors") / f"{name}.py")
    return dict(sorted(found.items()))


def also(path: Path) -> dict[str, str]:
    """Read the findings that a file tells beside the one of its own name."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ALSO":
            return dict(ast.literal_eval(node.value))
    return {}
