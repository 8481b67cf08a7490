"""Finds the line of a dotted key in a TOML text, since tomllib forgets where things stood."""

import re
from functools import lru_cache

HEADER = re.compile(r"^\s*+\[\[?+([^\]]++)\]")
ASSIGN = re.compile(r"^\s*+((?:[\w-]++|\"[^\"]*+\")(?:\s*+\.\s*+(?:[\w-]++|\"[^\"]*+\"))*+)\s*+=")

TOKEN = re.compile(r"\"(?:[^\"\\]|\\.)*+(?:\"|$)|'[^']*+(?:'|$)|([\w.-]++)|[{}#]")
KEYED = re.compile(r"\s*+=")


def parts(key: str) -> tuple[str, ...]:
    """Cut a TOML key at its dots."""
    return tuple(part.strip().strip('"') for part in key.split("."))


@lru_cache(maxsize=8)
def lines(text: str) -> dict[tuple[str, ...], int]:
    """Map each key of a TOML text, tables and inline tables included, to its line."""
    found: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := HEADER.match(line):
            table = parts(header.group(1))
            found.setdefault(table, number)
        elif assign := ASSIGN.match(line):
            key = table + parts(assign.group(1))
            for depth in range(len(table) + 1, len(key) + 1):
                found.setdefault(key[:depth], number)
            for inner in inline(line[assign.end() :]):
                found.setdefault(key + inner, number)
    return found


def inline(text: str) -> list[tuple[str, ...]]:
    """Name the keys of inline tables on one line, nested ones by their path."""
    found: list[tuple[str, ...]] = []
    stack: list[str] = []
    last = ""
    for token in TOKEN.finditer(text):
        word = token[0]
        if word == "#":
            break
        if word == "{":
            stack.append(last)
        elif word == "}":
            stack = stack[:-1]
        elif stack and token[1] and KEYED.match(text, token.end()):
            last = word
            found.append((*[name for name in stack if name], *parts(word)))
    return found


def line_of(text: str, key: tuple[str, ...]) -> int | None:
    """Give the line of a key, or of the nearest table that holds it."""
    known = lines(text)
    for depth in range(len(key), 0, -1):
        if key[:depth] in known:
            return known[key[:depth]]
    return None
