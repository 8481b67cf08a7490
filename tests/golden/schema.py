"""Reads off the recipe's schema: every key's type, bounds and default, of every choice too."""

from typing import Any

from pydantic import BaseModel

from surefoot import kinds
from surefoot.recipe.schema import Recipe

KINDS = "mixers heads streams schedules optimisers corpora tokenizers monitors"  # of a recipe
KEPT = (
    "type const enum pattern minimum maximum exclusiveMinimum exclusiveMaximum minLength maxLength "
    "minItems maxItems items anyOf prefixItems additionalProperties propertyNames default $ref"
)


def frozen() -> dict[str, Any]:
    """Give the whole schema, sorted, without its sentences."""
    whole: dict[str, Any] = {"recipe": told(Recipe)}
    for kind in KINDS.split():
        for name in kinds.own(kind):
            whole[f"{kind}/{name}"] = told(kinds.find(kind, name).Options)
    return whole


def told(model: type[BaseModel]) -> dict[str, Any]:
    """Give one model's tables and keys."""
    schema = model.model_json_schema(by_alias=True)
    tables = {model.__name__: schema, **schema.get("$defs", {})}
    return {
        name: {key: bare(value) for key, value in sorted(table.get("properties", {}).items())}
        for name, table in sorted(tables.items())
    }


def bare(value: Any) -> Any:
    """Leave out titles and sentences, which may change at any time."""
    if isinstance(value, dict):
        return {key: bare(value[key]) for key in sorted(value) if key in KEPT.split()}
    return [bare(one) for one in value] if isinstance(value, list) else value
