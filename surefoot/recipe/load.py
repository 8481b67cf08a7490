"""Opens a recipe: by name or path, with what it extends and what the command line changes."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from surefoot.errors import Problem, RecipeError, nearest
from surefoot.recipe.explain import explain
from surefoot.recipe.overrides import nested, overrides
from surefoot.recipe.schema import Recipe

BUILT_IN = Path(__file__).parent.parent / "recipes"
LARGEST = 2**20  # bytes; a recipe is a page, not a book
VERSION = 1
DEEPEST = 32  # tables in tables; ours are five deep
MOST = 10_000  # values; ours have two hundred
DOTS = 100  # in one key; tomllib takes time by their square
QUOTED = re.compile(r"\"[^\"\n]*+\"|'[^'\n]*+'")

Tables = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Loaded:
    """A recipe, and where each of its keys was decided."""

    recipe: Recipe
    sources: Mapping[str, str]  # dotted key -> "default", a recipe's name, or "command line"
    where: str  # the file, or "built in"


@dataclass(slots=True)
class Layers:
    """The tables of a recipe as they are laid over one another."""

    tables: Tables = field(default_factory=dict[str, Any])
    sources: dict[str, str] = field(default_factory=dict[str, str])
    texts: dict[str, str] = field(default_factory=dict[str, str])  # source -> TOML text

    def lay(self, tables: Tables, source: str) -> None:
        """Lay more tables on top."""
        train: Any = tables.get("train")
        if isinstance(train, dict) and "minutes" in train and "steps" not in train:
            # the nearer word wins: minutes written here, over steps of what is extended
            below: Any = self.tables.get("train", {})
            below.pop("steps", None)
            self.sources.pop("train.steps", None)
        merge(self.tables, tables, self.sources, source, "")


def names() -> list[str]:
    """Name the recipes that come with surefoot."""
    return sorted(path.stem for path in BUILT_IN.glob("*.toml"))


def load(
    what: str | Path, changes: Sequence[str] | Mapping[str, Any] = (), *, folder: Path | None = None
) -> Loaded:
    """Open a recipe by name or path and apply the command line's changes."""
    path = find(str(what), folder)
    layers = Layers()
    stack(path, layers, seen=())
    flat = dict(changes) if isinstance(changes, Mapping) else overrides(changes)
    layers.lay(nested(flat), "command line")
    layers.tables.setdefault("name", path.stem)
    where = "built in" if path.parent == BUILT_IN else str(path)
    return Loaded(validated(layers.tables, layers.sources, layers.texts), layers.sources, where)


def from_text(text: str, source: str) -> Recipe:
    """Read a recipe from TOML text, as a run's recipe.toml holds it."""
    return validated(parsed(text, source), {}, {source: text})


def find(what: str, folder: Path | None = None) -> Path:
    """Find the file of a recipe that is named or given by path."""
    path = Path(what)
    if what.endswith(".toml") or path.is_file():
        path = (folder / path) if folder is not None and not path.is_absolute() else path
        if path.is_file():
            return path
        raise RecipeError(
            Problem(what, "", "there is no such file", f"Write one of {', '.join(names())}")
        )
    if what in names():
        return BUILT_IN / f"{what}.toml"
    sibling = folder / f"{what}.toml" if folder is not None else None
    if sibling is not None and sibling.is_file() and "/" not in what:
        return sibling
    best = nearest(what, names())
    hint = f"Did you mean {best[0]}? " if best else ""
    raise RecipeError(
        Problem(
            what="recipe",
            value=what,
            why="there is no built-in recipe and no file of that name",
            instead=f"{hint}Write one of {', '.join(names())}, or a path that ends in .toml",
        )
    )


def stack(path: Path, layers: Layers, seen: tuple[Path, ...]) -> None:
    """Lay a recipe's tables over those of the recipe that it extends."""
    text = read(path)
    tables = parsed(text, path.name)
    source = path.stem if path.parent == BUILT_IN else path.name
    parent = tables.pop("extends", None)
    if parent is not None:
        if path in seen or not isinstance(parent, str) or "/" in parent or len(seen) > 8:
            raise RecipeError(
                Problem(
                    what="extends",
                    value=repr(parent),
                    why="a recipe extends another by its name, or a file of the same folder, and "
                    "never itself",
                    instead=f'Write extends="{names()[0] if names() else "starter"}"',
                    where=path.name,
                )
            )
        below = find(parent, path.parent)
        if below.parent != BUILT_IN and below.resolve().parent != path.resolve().parent:
            why = "it is a link that leads out of this recipe's folder"
            raise RecipeError(Problem("extends", parent, why, "Copy it here", where=path.name))
        stack(below, layers, (*seen, path))
    layers.texts[source] = text
    layers.lay(tables, source)


def read(path: Path) -> str:
    """Read a recipe's text."""
    if path.stat().st_size > LARGEST:
        raise RecipeError(
            Problem(str(path), "", "it is larger than 1 MiB", "Write a recipe, not a data file")
        )
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RecipeError(
            Problem(str(path), "", f"byte {error.start} is not UTF-8", "Save it as UTF-8")
        ) from None


def parsed(text: str, source: str) -> Tables:
    """Parse TOML, and check that this version can read it."""
    try:
        tables = shallow(text)
    except RecursionError:
        why = f"it is nested deeper than {DEEPEST}, or holds more than {MOST} values"
        raise RecipeError(Problem(source, "", why, "Write a recipe, not a data file")) from None
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(
            Problem(source, "", f"this is not TOML: {error}", 'Write key = value, text in "quotes"')
        ) from None
    version = tables.get("schema", VERSION)
    if isinstance(version, int) and version > VERSION:
        raise RecipeError(
            Problem(
                what="schema",
                value=str(version),
                why=f"this surefoot reads up to {VERSION}",
                instead=f"Install a newer one or write schema = {VERSION}",
                where=source,
            )
        )
    return tables


def shallow(text: str) -> Tables:
    """Parse TOML that a stranger may have written to cost time, or to exhaust the stack."""
    keys = (part for line in text.splitlines() for part in QUOTED.sub("", line).split("="))
    if any(key.count(".") > DOTS for key in keys):
        raise RecursionError
    tables: Tables = tomllib.loads(text)
    layer: list[Any] = [tables]
    count = 0
    for _ in range(DEEPEST):
        inner: list[list[Any]] = [list(o.values()) if isinstance(o, dict) else o for o in layer]  # pyright: ignore[reportUnknownArgumentType]
        count += sum(map(len, inner))
        layer = [one for values in inner for one in values if isinstance(one, dict | list)]
        if not layer and count <= MOST:
            return tables
    raise RecursionError


def merge(base: Tables, over: Tables, sources: dict[str, str], source: str, prefix: str) -> None:
    """Lay one table over another; a table whose kind changes replaces the old one whole."""
    if prefix and "kind" in over and over["kind"] != base.get("kind", over["kind"]):
        base.clear()
        for key in [key for key in sources if key.startswith(f"{prefix}.")]:
            del sources[key]
    for key, value in over.items():
        dotted = f"{prefix}.{key}" if prefix else key
        if isinstance(value, dict):
            if not isinstance(base.get(key), dict):
                base[key] = {}
            merge(base[key], value, sources, source, dotted)  # pyright: ignore[reportUnknownArgumentType]
        else:
            base[key] = value
            sources[dotted] = source


def validated(tables: Tables, sources: Mapping[str, str], texts: Mapping[str, str]) -> Recipe:
    """Make the recipe, or say all that is wrong with it at once."""
    try:
        return Recipe.model_validate(tables)
    except ValidationError as error:
        raise RecipeError(*explain(error, tables, sources, texts)) from None
