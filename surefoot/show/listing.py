"""One line a run: state, step, cross-entropy, age."""

from pathlib import Path
from typing import Any

from surefoot.records import number
from surefoot.show.amounts import duration, figure


def run_line(row: dict[str, Any]) -> str:
    """Write one run's line."""
    steps = f"{row['step']}/{row['steps']}" if row["steps"] else f"{row['step']}"
    ce = f"val ce {figure(row['val_ce'])}" if row["val_ce"] is not None else ""
    if not ce and row["ce"] is not None:
        ce = f"ce {figure(row['ce'])}"
    return (
        f"{row['name']:<28} {row['state']:<9} {'step ' + steps:<18} {ce:<15} "
        f"{duration(row['age_s'])} ago"
    )


def row_of(folder: Path, state: str, status: Any, age_s: float) -> dict[str, Any]:
    """Gather what a run's line shows from its status."""
    return {
        "name": folder.name,
        "path": str(folder),
        "state": state,
        "step": numeric(status, "step") or 0,
        "steps": numeric(status, "steps"),
        "ce": numeric(status, "ce"),
        "val_ce": numeric(status, "val_ce"),
        "reason": status.get("reason") or "",
        "age_s": round(age_s, 1),
    }


def numeric(status: Any, key: str) -> Any:
    """Give a number of a status; None for whatever else a stranger's says."""
    value = number(status.get(key))
    return value if isinstance(value, int | float) else None
