"""Finds the choices of a kind: a folder named in the plural, whose every file is one choice."""

import ast
import importlib
import re
from functools import cache
from pathlib import Path
from types import ModuleType

from surefoot.errors import Problem, RecipeError, nearest

HERE = Path(__file__).parent

# Which room each kind lives in; the choices themselves are the files, never listed here.
ROOMS = {
    "mixers": "model",
    "memories": "model",
    "streams": "model",
    "heads": "model",
    "schedules": "plan",
    "optimisers": "learn",
    "corpora": "data",
    "tokenizers": "data",
    "rules": "guard",
    "monitors": "guard",
    "remedies": "guard",
    "readers": "guard",
    "probes": "audit",
    "faults": "bench",
    "exports": "shelf",
    "bench": "",
    "verbs": "",
}
NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
DOCSTRING = re.compile(r'"""([^"\\]+)"""')  # a file's first words, where nothing is escaped


def folder(kind: str) -> Path:
    """Give the folder whose files are the choices of a kind."""
    return HERE / ROOMS[kind] / kind


@cache
def own(kind: str) -> tuple[str, ...]:
    """Name the choices of a kind that come with surefoot."""
    return tuple(sorted(p.stem for p in folder(kind).glob("*.py") if not p.stem.startswith("_")))


def foreign(kind: str) -> dict[str, str]:
    """Map the choices that installed plug-ins add to the module of each."""
    from importlib.metadata import entry_points  # 15 ms: only looked at when a kind is asked for

    return {e.name: e.value for e in entry_points(group=f"surefoot.{kind}")}


def names(kind: str) -> list[str]:
    """Name all choices of a kind, plug-ins included."""
    return sorted({*own(kind), *foreign(kind)})


def find(kind: str, name: str, key: str = "") -> ModuleType:
    """Import the one file that a recipe names."""
    if NAME.fullmatch(name):
        if name in own(kind):
            return importlib.import_module(module_name(kind, name))
        if target := foreign(kind).get(name):
            return importlib.import_module(target)
    raise RecipeError(unknown(kind, name, key or f"{kind}.kind"))


def module_name(kind: str, name: str) -> str:
    """Give the dotted module of a choice that comes with surefoot."""
    return ".".join(part for part in ("surefoot", ROOMS[kind], kind, name) if part)


def unknown(kind: str, name: str, key: str) -> Problem:
    """Say that there is no such choice, and which one was likely meant."""
    choices = names(kind)
    best = nearest(name, choices) or choices[:1] or [""]
    return Problem(
        what=key,
        value=f'"{name}"',
        why=f"there is no such choice of {kind}",
        instead=f'Write {key}="{best[0]}" (choices: {", ".join(choices)})',
    )


def sentence(path: Path) -> str:
    """Read a file's first sentence without importing it."""
    text = path.read_text(encoding="utf-8")
    plain = DOCSTRING.match(text)  # a tree of each file would take `surefoot list` .2 s
    doc = plain[1] if plain else ast.get_docstring(ast.parse(text)) or ""
    return doc.split("\n\n", 1)[0].strip().replace("\n", " ")


def sentences(kind: str) -> dict[str, str]:
    """Give each choice's first sentence, as `surefoot list` shows it."""
    told = {name: sentence(folder(kind) / f"{name}.py") for name in own(kind)}
    return told | {name: f"(plug-in {target})" for name, target in foreign(kind).items()}
