"""Sees a disk that is about to be full."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from surefoot.recipe.choice import Choice
from surefoot.records import Finding, Record, Step

AMBIENT = True


class Options(Choice):
    """How much space must stay."""

    kind: str = "disk"
    reserve_gib: Annotated[float, Field(ge=0)] = 1.0
    """Space left beside the next checkpoint, GiB"""


class Monitor:
    """Compares free space with the next checkpoint."""

    def __init__(self, options: Options, facts: Mapping[str, Any]) -> None:
        self.options = options
        self.needed = 1.2 * float(facts.get("checkpoint_gib", 0.0)) + options.reserve_gib
        self.open = False

    def observe(self, record: Record) -> list[Finding]:
        """Warn once an episode."""
        if not isinstance(record, Step) or record.disk_free_gib is None:
            return []
        short = record.disk_free_gib < self.needed
        fresh, self.open = short and not self.open, short
        if not fresh:
            return []
        return [
            Finding(
                id="disk",
                severity="warn",
                what="free disk",
                value=f"{record.disk_free_gib:.2f} GiB",
                why=f"the next checkpoint needs {self.needed:.2f} GiB with its reserve",
                instead="Free space now, or resume with save.keep=1",
                evidence={"free_gib": record.disk_free_gib, "needed_gib": self.needed},
                since=record.step,
            )
        ]

    def state(self) -> dict[str, Any]:
        """Give whether it is told already."""
        return {"open": self.open}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take it back; a checkpoint of before it was kept has none."""
        self.open = bool(state.get("open"))
