"""The README of a model that leaves: what it is, how it loads, and what can be believed of it."""

from collections.abc import Iterable

from surefoot.recipe.schema import Recipe
from surefoot.records import Record
from surefoot.show.printed import printable
from surefoot.show.report import Gathered, configuration, findings, paragraph, section


def card(recipe: Recipe, step: int, loading: str, records: Iterable[Record]) -> str:
    """Write it from the journal of the run that made the model."""
    told = Gathered(records)
    parts = [
        f"# {printable(recipe.name)}, step {step}",
        f"```text\n{loading}\n```",
        section("The run that made it", paragraph(recipe, told)),
        section("Configuration", configuration(recipe, told)),
        section("Findings", findings(told)),
    ]
    return "\n\n".join(parts) + "\n"
