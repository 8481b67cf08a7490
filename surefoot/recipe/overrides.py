"""Reads `key.sub=VALUE` from a command line: VALUE is TOML, or a bare word for text."""

import re
import tomllib
from collections.abc import Sequence
from typing import Any, cast

from surefoot.errors import Problem, RecipeError

KEY = re.compile(r"^[A-Za-z_][\w-]*+(\.[\w-]++)*+$")
WORD = re.compile(r"^(?:[./~]*/)?[A-Za-z_][\w./-]*$")  # also ../texts/a.txt


def overrides(texts: Sequence[str]) -> dict[str, Any]:
    """Map dotted keys to values; all mistakes at once."""
    found: dict[str, Any] = {}
    wrong: list[Problem] = []
    for text in texts:
        key, _, value = text.partition("=")
        if not KEY.match(key):
            wrong.append(Problem(text, "", "this is no key", "Write key.sub=value"))
        elif key in found:
            wrong.append(Problem(key, value, "the key is given twice", f"Write {key}= once"))
        else:
            try:
                found[key] = value_of(value)
            except (ValueError, RecursionError):
                wrong.append(
                    Problem(key, value, "this is not a TOML value", f"Write '{key}=\"{value}\"'")
                )
    if wrong:
        raise RecipeError(*wrong)
    return found


def value_of(text: str) -> Any:
    """Read one value: TOML, or a bare word."""
    try:
        read = tomllib.loads(f"v={text}")
    except tomllib.TOMLDecodeError:
        if WORD.match(text):
            return text
        raise
    if set(read) != {"v"}:
        raise ValueError(text)
    return read["v"]


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    """Turn dotted keys into tables."""
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        *path, last = key.split(".")
        table = tree
        for part in path:
            inner: Any = table.setdefault(part, {})
            if not isinstance(inner, dict):
                raise RecipeError(two_values(key, value, part))
            table = cast("dict[str, Any]", inner)
        if last in table:  # the key below it came first
            raise RecipeError(two_values(key, value, last))
        table[last] = value
    return tree


def two_values(key: str, value: Any, part: str) -> Problem:
    """Say that a table is given whole, and in parts too."""
    why = f"{part} is given a value of its own too"
    return Problem(key, str(value), why, f"Write either {part} or the keys below it")
