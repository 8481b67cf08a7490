"""JSON lines: one object a line, with a text, or a prompt and the response that is learnt."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from surefoot.data.documents import Document, Skipped
from surefoot.data.reading import matching, shown, unreadable
from surefoot.errors import Problem
from surefoot.recipe.choice import Choice

LONGEST = 64 * 2**20  # bytes of a line: more is a file of another kind


class Options(Choice):
    """Which files, and which of their fields."""

    kind: str = "jsonl"
    path: Annotated[str, Field(min_length=1)] | Annotated[list[str], Field(min_length=1)]
    """A file, a folder, or patterns like data/*.jsonl"""
    field: str = "text"
    """The field that is learnt"""
    prompt: str = ""
    """A field that is read before it and not learnt; empty = none"""


def files(options: Options, where: Path) -> list[Path]:
    """List the files, sorted."""
    return matching(options.path, where)


def documents(options: Options, where: Path) -> Iterator[Document | Skipped]:
    """Give a document a line; what is wrong with a line is said with its number."""
    for path in files(options, where):
        name = shown(path, where)
        try:
            with path.open("rb") as file:
                number = 0
                while raw := file.readline(LONGEST + 1):
                    number += 1
                    if len(raw) > LONGEST:
                        problem = wrong(f"{name}:{number}", "the line is longer than 64 MiB")
                        yield Skipped("too long", problem)
                        while raw and not raw.endswith(b"\n"):
                            raw = file.readline(LONGEST)
                        continue
                    if number == 1:
                        raw = raw.removeprefix(b"\xef\xbb\xbf")
                    yield read(raw, f"{name}:{number}", options)
        except OSError as error:
            raise unreadable(name, error) from None


def read(raw: bytes, name: str, options: Options) -> Document | Skipped:
    """Turn one line into a document."""
    if not raw.strip():
        return Skipped("empty")
    row = parsed(raw, name)
    if isinstance(row, Problem):
        return Skipped("bad line", row)
    prompt = chosen(row, options.prompt, name) if options.prompt else ""
    text = chosen(row, options.field, name)
    for part in (prompt, text):
        if isinstance(part, Problem):
            return Skipped("bad line", part)
    assert isinstance(prompt, str), "a problem was let through"
    assert isinstance(text, str), "a problem was let through"
    return Document(text, name, prompt=prompt) if text else Skipped("empty")


def parsed(raw: bytes, name: str) -> dict[str, Any] | Problem:
    """Read one line's object."""
    try:
        line = raw.decode()
    except UnicodeDecodeError as error:
        return wrong(name, f"byte {error.start} of the line is not UTF-8")
    try:
        row = json.loads(line.rstrip("\r\n"))
    except RecursionError:
        return wrong(name, "not JSON that can be read (nested too deep)")
    except json.JSONDecodeError as error:
        return wrong(name, not_json(line, error))
    except ValueError as error:  # a number of thousands of digits
        return wrong(name, f"not JSON that can be read ({error})")
    if not isinstance(row, dict):
        return wrong(name, f"this is {article(row)}, not an object; the line starts {start(line)}")
    return row


def not_json(line: str, error: json.JSONDecodeError) -> str:
    """Say where a line stops being JSON."""
    message = error.msg[:1].lower() + error.msg[1:].removesuffix(" at").removesuffix(" starting")
    if not line.endswith("\n"):
        return f"the file's last line is cut short ({message} at column {error.colno})"
    return f"not JSON ({message} at column {error.colno}); the line starts {start(line)}"


def chosen(row: dict[str, Any], field: str, name: str) -> str | Problem:
    """Give one field's text."""
    if field not in row:
        has = ", ".join(list(row)[:5]) or "none"
        return wrong(name, f'there is no field "{field}" (fields: {has})', fields=list(row))
    value = row[field]
    if not isinstance(value, str):
        return wrong(name, f'field "{field}" is {article(value)}, not a string')
    try:
        value.encode()
    except UnicodeEncodeError as error:
        return wrong(name, f'field "{field}" holds half a character (at {error.start})')
    return value


def article(value: object) -> str:
    """Name a JSON value's type."""
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean"}
    return names.get(type(value), "null" if value is None else "a number")


def start(line: str) -> str:
    """Give the first characters of a line."""
    line = line.strip()
    return line if len(line) <= 18 else line[:18] + "..."


def wrong(name: str, why: str, fields: list[str] | None = None) -> Problem:
    """Say what is wrong with a line."""
    other = f'data.corpus.field="{fields[0]}"' if fields else 'data.on_bad_line="skip"'
    return Problem(what=name, value="", why=why, instead=f"Mend the line, or write {other}")
