"""Turns pydantic's messages into problems: the dotted key, its line, and what to write instead."""

from collections.abc import Iterator, Mapping
from typing import Any, cast

from pydantic import BaseModel, ValidationError

from surefoot.errors import Problem, nearest
from surefoot.recipe.choice import Choice
from surefoot.recipe.locate import line_of
from surefoot.recipe.schema import Recipe

WANTED = {
    "int_type": "a whole number is needed",
    "int_from_float": "a whole number is needed",
    "float_type": "a number is needed",
    "bool_type": "true or false is needed",
    "string_type": "text is needed",
    "dict_type": "a table is needed",
    "list_type": "a list is needed",
    "model_type": "a table is needed",
    "model_attributes_type": "a table is needed",
    "missing": "it has no default and must be given",
    "finite_number": "a finite number is needed",
}
NOUNS: dict[type, str] = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number with a fraction",
    dict: "a table",
    list: "a list",
}
MOST = 300  # things wrong that are told at once
BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}

Loc = tuple[str | int, ...]
Detail = Mapping[str, Any]


def explain(
    error: ValidationError,
    tables: dict[str, Any],
    sources: Mapping[str, str],
    texts: Mapping[str, str],
) -> list[Problem]:
    """Say everything that is wrong with a recipe, each with its line."""
    found: dict[str, Problem] = {}
    remaining = tables
    for _ in range(4):  # mend what is wrong, to see what else is: contradictions show last
        every = list(flat(error.errors(include_url=False)))
        details = every[:MOST]
        for loc, detail in details:
            for problem in said(loc, detail):
                found.setdefault(problem.what, placed(problem, sources, texts))
        if len(every) > MOST:
            why = f"{len(every) - MOST} more things are wrong"
            return [*found.values(), Problem("recipe", "", why, "Mend these first")]
        remaining = without(remaining, [loc for loc, _ in details])
        try:
            Recipe.model_validate(remaining)
            break
        except ValidationError as again:
            error = again
    return list(found.values())


def flat(details: list[Any], prefix: Loc = ()) -> Iterator[tuple[Loc, Detail]]:
    """Walk all errors, those inside a choice's options included."""
    for detail in details:
        loc = (*prefix, *detail["loc"])
        if detail["type"] == "inner":
            for inner_loc, inner in flat(detail["ctx"]["errors"], loc):
                yield inner_loc, {**inner, "fields": detail["ctx"]["fields"]}
        else:
            yield loc, detail


def said(loc: Loc, detail: Detail) -> Iterator[Problem]:
    """Turn one of pydantic's errors into problems."""
    if detail["type"] == "problems":
        prefix = ".".join(map(str, loc))
        for problem in detail["ctx"]["problems"]:
            own = problem.what if problem.what != "kind" else f"{prefix}.kind"
            instead = problem.instead.replace('Write kind="', f'Write {own}="')
            yield Problem(own, problem.value, problem.why, instead)
        return
    if loc and loc[-1] == "[key]":
        yield unknown_name(loc[:-1], detail)
        return
    words = tuple(word for word in loc if not union_tag(word))
    key = ".".join(map(str, words))
    value = shown(detail.get("input"))
    if detail["type"] == "extra_forbidden":
        yield unknown_key(words, key, value, detail)
        return
    if detail["type"] == "missing":
        value = ""
    why, instead = reason(detail, key)
    yield Problem(key, value, why, instead)


def union_tag(word: str | int) -> bool:
    """Tell what pydantic adds to a place when several types are allowed there."""
    if not isinstance(word, str):
        return False
    return "[" in word or word in ("int", "float", "str", "bool", "list", "Knob", "literal")


def unknown_key(words: Loc, key: str, value: str, detail: Detail) -> Problem:
    """Name the key that was likely meant."""
    fields = siblings(words[:-1], detail)
    best = nearest(str(words[-1]), fields)
    close = [other for other in best if other in fields]
    place = ".".join(map(str, words[:-1]))
    everywhere = nearest(str(words[-1]), all_keys()) if not close else []
    candidates = [f"{place}.{close[0]}" if place else close[0]] if close else everywhere[:1]
    instead = (
        f"Did you mean {candidates[0]}?" if candidates else f"Write one of {', '.join(fields)}"
    )
    return Problem(key, value, "there is no such key", instead)


def unknown_name(words: Loc, detail: Detail) -> Problem:
    """Name the table that was likely meant, such as a role of [optim]."""
    key, place = ".".join(map(str, words)), ".".join(map(str, words[:-1]))
    why, _ = reason(detail, key)
    names = literals(detail)
    best = nearest(str(words[-1]), names) or names
    hint = f"Did you mean {place}.{best[0]}?" if best else f"Write another name below {place}"
    return Problem(key, "", f"there is no such table: {why}", hint)


def literals(detail: Detail) -> list[str]:
    """Name the words that may stand in a place, where they are a closed list."""
    told = str(detail.get("ctx", {}).get("expected", "")).replace(" or ", ", ")
    return [word.strip(" '") for word in told.split(",") if word]


def siblings(place: Loc, detail: Detail) -> list[str]:
    """Name the keys that the table at a place knows."""
    if "fields" in detail:
        return list(detail["fields"])
    model: Any = Recipe
    for word in place:
        field = model.model_fields.get(str(word)) if model is not None else None
        inner = getattr(field, "annotation", None)
        model = inner if isinstance(inner, type) and issubclass(inner, BaseModel) else None
    return [f.alias or name for name, f in model.model_fields.items()] if model else []


def all_keys(model: type[BaseModel] = Recipe, prefix: str = "") -> list[str]:
    """Name every dotted key of a recipe that needs no choice to be known."""
    found: list[str] = []
    for name, field in model.model_fields.items():
        key = f"{prefix}{field.alias or name}"
        inner = field.annotation
        if (
            isinstance(inner, type)
            and issubclass(inner, BaseModel)
            and not issubclass(inner, Choice)
        ):
            found += all_keys(inner, f"{key}.")
        else:
            found.append(key)
    roles = ["matrix", "embedding", "head", "scalar", "value_embedding", "filter", "table"]
    return found + ([f"optim.{role}.lr" for role in roles] if model is Recipe else [])


def reason(detail: Detail, key: str) -> tuple[str, str]:
    """Say why a value can't be, and what to write."""
    kind, given, ctx = detail["type"], detail.get("input"), detail.get("ctx", {})
    if kind in WANTED:
        is_text = isinstance(given, str)
        why = WANTED[kind] + (f", this is {noun(given)}" if kind != "missing" else "")
        if is_text and kind in ("int_type", "float_type", "bool_type") and given:
            return why, f"Write {key}={given.strip()}"
        return why, f"Write {key}={example(kind)}"
    if kind == "literal_error":
        choices = literals(detail)
        best = nearest(str(given), choices) or choices
        literal = best[0] if best[0] in ("true", "false") or best[0].isdigit() else f'"{best[0]}"'
        return f"it must be one of {', '.join(choices)}", f"Write {key}={literal}"
    for bound, words in BOUNDS.items():
        if bound in ctx:
            limit = ctx[bound]
            near = limit if bound in ("ge", "le") else (limit + 1 if bound == "gt" else limit / 2)
            return f"it must be {words} {limit}", f"Write {key}={near}"
    if kind == "string_pattern_mismatch":
        return f"it must look like {ctx['pattern']}", f"Write {key} in that form"
    said_by_pydantic = str(detail.get("msg", kind)).rstrip(".")
    return said_by_pydantic[:1].lower() + said_by_pydantic[1:], f"Write another {key}"


def noun(value: object) -> str:
    """Name the type of a value as a person would."""
    return NOUNS.get(type(value), "something else")


def example(kind: str) -> str:
    """Give a literal of the type that is needed."""
    return {
        "int_type": "1",
        "int_from_float": "1",
        "float_type": "0.1",
        "bool_type": "true",
        "string_type": '"text"',
        "list_type": "[]",
    }.get(kind, "...")


def shown(value: object) -> str:
    """Show a value as it was written."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value}"' if len(value) < 60 else f'"{value[:57]}..."'
    if isinstance(value, dict):
        table = cast("dict[str, Any]", value)
        text = f"{{{', '.join(f'{key} = {shown(inner)}' for key, inner in table.items())}}}"
    else:
        text = str(value)
    return text if len(text) < 60 else f"{text[:57]}..."


def placed(problem: Problem, sources: Mapping[str, str], texts: Mapping[str, str]) -> Problem:
    """Add the file and line, where the key stands in a file."""
    words = tuple(problem.what.split("."))
    source = sources.get(problem.what)
    if source is None:
        inside = [s for key, s in sources.items() if key.startswith(problem.what + ".")]
        source = inside[-1] if inside else (list(texts)[-1] if texts else None)
    text = texts.get(source or "")
    if text is None or (line := line_of(text, words)) is None:
        return problem
    name = source if source and source.endswith(".toml") else f"{source}.toml"
    return Problem(
        problem.what, problem.value, problem.why, problem.instead, where=f"{name}:{line}"
    )


def without(tables: dict[str, Any], places: list[Loc]) -> dict[str, Any]:
    """Copy the tables without the keys that are wrong."""
    import copy

    kept = copy.deepcopy(tables)
    for place in places:
        table: Any = kept
        *path, last = [word for word in place if not union_tag(word)] or [None]
        for word in path:
            table = table.get(word) if isinstance(table, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
        if isinstance(table, dict):
            table.pop(last, None)  # pyright: ignore[reportUnknownMemberType]
    return pruned(kept)


def pruned(tables: dict[str, Any]) -> dict[str, Any]:
    """Leave out tables that have become empty, so that their defaults stand in."""
    kept = {
        key: pruned(cast("dict[str, Any]", value)) if isinstance(value, dict) else value
        for key, value in tables.items()
    }
    return {key: value for key, value in kept.items() if value != {}}
