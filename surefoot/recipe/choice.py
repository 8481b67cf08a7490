"""What a recipe's tables are made of: frozen, typed, refusing what they don't know."""

from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationError,
)
from pydantic_core import PydanticCustomError

from surefoot import kinds
from surefoot.errors import Problem, RecipeError

STRICT = ConfigDict(
    extra="forbid",
    frozen=True,
    strict=True,
    allow_inf_nan=False,
    use_attribute_docstrings=True,
    validate_default=True,
)


class Section(BaseModel):
    """A table of a recipe."""

    model_config = STRICT


class Choice(BaseModel):
    """The options of one choice of a kind; `kind` is the name of its file."""

    model_config = STRICT

    kind: str = ""


class Knob(Section):
    """Stands where a number may: the plan gives the value of the named knob at each step."""

    knob: str


def options(kind: str, raw: Any, default: str) -> Any:
    """Turn a table into the options of the choice that it names."""
    if not isinstance(raw, dict):
        return raw  # already options, or nonsense that pydantic names
    table: dict[str, Any] = dict(raw)  # pyright: ignore[reportUnknownArgumentType]
    name = table.setdefault("kind", default)
    if not isinstance(name, str):
        raise PydanticCustomError("choice", "{said}", {"said": "kind is text", "problems": []})
    try:
        made = kinds.find(kind, name, "kind").Options
    except RecipeError as error:
        raise reported(list(error.problems)) from None
    try:
        return made.model_validate(table)
    except ValidationError as error:
        inner = {"errors": error.errors(include_url=False), "fields": sorted(made.model_fields)}
        raise PydanticCustomError("inner", "see the options of the choice", inner) from None


def reported(problems: list[Problem]) -> PydanticCustomError:
    """Carry whole problems through pydantic, which gathers them with all others."""
    return PydanticCustomError("problems", "see the problems", {"problems": problems})


def slot(kind: str, default: str) -> Any:
    """Make the type of a field that holds one choice of a kind."""
    return Annotated[
        SerializeAsAny[Choice], BeforeValidator(lambda raw: options(kind, raw, default))
    ]


def table(default: dict[str, Any]) -> Any:
    """Make a field whose default is a table, validated as if it had been written."""
    return Field(default=default)
