"""A recipe as a table: key, value, where it was decided, and what it means."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from pydantic import BaseModel

from surefoot.plan.plan import Plan
from surefoot.recipe.schema import Recipe
from surefoot.show.amounts import three

WIDEST = 44  # a column's longest cell that sets its width
POINTS = 20  # steps of a plan that are shown


@dataclass(frozen=True, slots=True)
class Key:
    """One dotted key of a recipe."""

    key: str
    value: Any
    shown: str  # the value as TOML has it
    source: str
    meaning: str


def keys(recipe: Recipe, sources: Mapping[str, str]) -> list[Key]:
    """Give every key of a recipe in the order of its reference."""
    found: list[Key] = []
    walk(recipe, "", sources, found)
    return found


def walk(section: BaseModel, prefix: str, sources: Mapping[str, str], found: list[Key]) -> None:
    """Gather the keys of one table and those below it."""
    for name, field in type(section).model_fields.items():
        value, key = getattr(section, name), f"{prefix}{field.alias or name}"
        meaning = (field.description or "").strip()
        if name == "kind" and not meaning:
            meaning = "which choice this is: the name of its file"
        if isinstance(value, BaseModel):
            walk(value, f"{key}.", sources, found)
        elif isinstance(value, dict) and holds_tables(cast("dict[str, Any]", value)):
            for inner, table in cast("dict[str, Any]", value).items():
                walk(table, f"{key}.{inner}.", sources, found)
        else:
            found.append(Key(key, value, toml(value), sources.get(key, "default"), meaning))


def holds_tables(value: Mapping[str, Any]) -> bool:
    """Say whether a table is one of tables, such as [optim]."""
    return any(isinstance(inner, BaseModel) for inner in value.values())


def toml(value: Any) -> str:
    """Write a value as a recipe would; what is absent has no value there."""
    if value is None:
        return "(none)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, list | tuple):
        return f"[{', '.join(toml(one) for one in cast('list[Any]', value))}]"
    if isinstance(value, dict):
        table = cast("dict[str, Any]", value)
        return f"{{{', '.join(f'{key} = {toml(one)}' for key, one in table.items())}}}"
    return repr(value)


def plan_table(recipe: Recipe) -> tuple[list[str], list[list[str]]]:
    """Give every knob at steps spread evenly over the run."""
    plan = Plan(recipe)
    steps = [step for step, _ in plan.curve("lr", POINTS)]
    others = [name for name in recipe.knobs if name not in ("lr", "momentum")]
    head = ["step", "lr", *(f"lr {role}" for role in recipe.optim), "momentum", *others]
    rows: list[list[str]] = []
    for step in steps:
        knobs = plan.at(step)
        rates = [f"{knobs.lr[role]:.3g}" for role in recipe.optim]
        rest = [knob(knobs.values[name]) for name in others]
        shape = knob(knobs.values["lr"])
        rows.append([f"{step}", shape, *rates, f"{knobs.momentum:.3f}", *rest])
    return head, rows


def knob(value: Any) -> str:
    """Write a knob's value; one a layer as the different ones, the most first."""
    if isinstance(value, list):
        values = sorted(set(cast("list[float]", value)), reverse=True)
        return "/".join(f"{one:g}" for one in values)
    return three(value)


def recipe_lines(rows: Sequence[Sequence[str]]) -> list[str]:
    """Line cells up in columns; a very long one pushes its own line alone."""
    columns = max((len(row) for row in rows), default=0)
    wide = [
        max((len(row[at]) for row in rows if len(row[at]) <= WIDEST), default=0)
        for at in range(columns)
    ]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, wide, strict=True)).rstrip()
        for row in rows
    ]
