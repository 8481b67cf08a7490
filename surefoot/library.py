"""What Python code can call: train, open, preflight, audit, load, and the Past of a run."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from surefoot.recipe.load import Loaded
from surefoot.recipe.load import load as load_recipe
from surefoot.recipe.schema import Recipe
from surefoot.records import Event, Record, Remedy, Step, read

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from surefoot.audit.audit import Verdict
    from surefoot.plan.plan import Plan

Changes = Mapping[str, Any]


def load(what: str | Path, changes: Changes | None = None) -> Recipe:
    """Open a recipe by name or path, with some of its keys changed."""
    return loaded(what, changes).recipe


def loaded(what: str | Path, changes: Changes | None = None) -> Loaded:
    """Open a recipe, and say where each key was decided."""
    return load_recipe(what, changes or {})


def train(what: str | Path = "starter", changes: Changes | None = None, **asked: Any) -> "Past":
    """Train as `surefoot train` does; gives the run, whatever its exit code says."""
    from surefoot.run.asked import Asked
    from surefoot.run.session import session
    from surefoot.show.terminal import Terminal

    quiet = asked.pop("quiet", True)
    run = asked.pop("run", None)
    wanted = Asked(what=str(what), changes=changes or {}, run=Path(run) if run else None, **asked)
    ended = session(wanted, Terminal(plain=True, quiet=quiet))
    if ended.folder is None:
        from surefoot.errors import Problem, RunError

        refused = [f for f in ended.status["findings"] if f["severity"] == "refuse"]
        parts = ("what", "value", "why", "instead")
        raise RunError(*(Problem(*(f[part] for part in parts)) for f in refused), exit=3)
    return Past(ended.folder)


def open(run: str | Path) -> "Past":  # noqa: A001 (surefoot.open, as one opens a file)
    """Open a run to read: a folder, a name under runs/, or `last`."""
    from surefoot.run.folder import find_run

    return Past(find_run(str(run)))


def preflight(what: str | Path, changes: Changes | None = None) -> Mapping[str, Any]:
    """Check a plan and forecast its cost, as `surefoot preflight --json` tells it."""
    from surefoot.run.asked import Asked
    from surefoot.run.session import session
    from surefoot.show.terminal import Terminal

    wanted = Asked(what=str(what), changes=changes or {}, dry=True)
    return session(wanted, Terminal(plain=True, quiet=True)).status


def audit(what: Any, changes: Changes | None = None, **how: Any) -> "Verdict":
    """Show whether a model sees the future: a recipe, or any torch module from ids to logits.

    A module is copied, never touched; `forward`, `reads`, `length`, `budget` and `full` are what
    `surefoot audit` calls --forward, --input, --length, --budget and --full.
    """
    from surefoot.audit.audit import audit_module, audit_recipe
    from surefoot.plan.shape import with_vocab

    if not isinstance(what, str | Path | Recipe):
        return audit_module(what, **how)
    recipe = what if isinstance(what, Recipe) else load(what, changes)
    return audit_recipe(with_vocab(recipe), **how)


class Past:
    """A run, read from its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __repr__(self) -> str:
        told = self.status
        state, step = told.get("state", "unknown"), told.get("step", 0)
        return f"<surefoot run {self.folder}: {state} at step {step} of {told.get('steps', '?')}>"

    @property
    def status(self) -> Mapping[str, Any]:
        """Give status.json as it is now."""
        from surefoot.run.folder import read_status

        return read_status(self.folder)

    @cached_property
    def recipe(self) -> Recipe:
        """Give the resolved recipe."""
        from surefoot.run.resuming import stored

        return stored(self.folder)

    @property
    def journal(self) -> Iterator[Record]:
        """Read the journal anew, record by record."""
        return read(self.folder / "journal.jsonl")

    @property
    def events(self) -> list[Event | Remedy]:
        """Give what bent the plan."""
        return [
            record
            for record in self.journal
            if isinstance(record, Remedy) or (isinstance(record, Event) and record.planned)
        ]

    @property
    def plan(self) -> "Plan":
        """Give the plan with its events: `run.plan.at(step)`."""
        from surefoot.plan.plan import Plan

        return Plan(self.recipe, self.events)

    @cached_property
    def steps(self) -> "Mapping[str, NDArray[np.float64]]":
        """Give the steps' numbers as columns; of a step that was done again the last counts."""
        import numpy as np

        last = {record.step: record for record in self.journal if isinstance(record, Step)}
        found = [last[step] for step in sorted(last)]
        names = [
            name
            for name in Step.__slots__
            if any(isinstance(getattr(step, name), int | float) for step in found)
        ]
        return {
            name: np.array(
                [np.nan if (v := getattr(step, name)) is None else float(v) for step in found]
            )
            for name in names
        }

    def generate(self, prompt: str, tokens: int = 200, **how: Any) -> str:
        """Write a prompt on, with the newest checkpoint."""
        from surefoot.evaluate.generate import generate
        from surefoot.run.opened import open_model

        opened = open_model(self.folder, how.pop("step", None), how.pop("device", "auto"))
        ids = opened.tokenizer.encode(prompt)
        new = generate(opened.model, opened.tokenizer, ids, tokens, opened.knobs, **how)
        return opened.tokenizer.decode(new)
