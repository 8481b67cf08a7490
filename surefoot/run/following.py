"""A rank that is not the first: it does what that one says, and writes nothing but its pulse."""

from pathlib import Path
from typing import Any

from surefoot.data.ahead import Ahead
from surefoot.errors import Problem, RunError
from surefoot.learn.advance import advance
from surefoot.learn.ranks import Ranks
from surefoot.plan.bends import micro_rows
from surefoot.plan.plan import Plan
from surefoot.recipe.load import from_text
from surefoot.records import Event, Remedy, parse
from surefoot.run.beginning import at_home
from surefoot.run.leading import answer, knobs_sha, together
from surefoot.run.memory_cap import capped
from surefoot.run.opening import make_learner, read_data
from surefoot.run.progress import Progress
from surefoot.run.rows import Rows
from surefoot.run.signals import Signals
from surefoot.run.telemetry import Heartbeat
from surefoot.shelf.disk import Disk


def follow(ranks: Ranks, edge: Any = None) -> int:
    """Hear and do until the first rank has ended; how it ended is for that rank to tell."""
    follower: Follower | None = None
    try:
        while (word := ranks.hear())["do"] != "end":
            if word["do"] == "open":
                ranks.open(word["timeout_s"])
            elif word["do"] == "begin":
                if edge is not None:
                    edge.folder = Path(word["run"])
                follower = Follower(ranks, word)
            else:
                assert follower is not None, "the first word is to begin"
                getattr(follower, word["do"])(word)
    finally:
        if follower is not None:
            follower.close()
    return 0


class Follower:
    """One rank's learner, its data, and the plan as the first rank's events have bent it."""

    def __init__(self, ranks: Ranks, word: dict[str, Any]) -> None:
        self.ranks, self.folder = ranks, Path(word["run"])
        told = from_text(word["recipe"], "rank 0's recipe")
        capped(told)
        self.recipe, self.dataset = read_data(at_home(told, self.folder))
        self.progress, self.phase = Progress(), "idle"
        self.plan = Plan(self.recipe)
        self.learner = make_learner(self.recipe, ranks if word["sharded"] else None)
        together(ranks, self.learner, self.recipe, self.dataset.fingerprint, self.folder)
        self.rows = Rows(ranks, self.learner, self.folder)
        if word["sharded"]:
            ranks.hand_out(self.learner, None)
        self.ahead = Ahead(lambda step: self.dataset.batch(step, self.progress.skips))
        self.signals = Signals(self.recipe.save.grace_s, quiet=True)
        self.signals.__enter__()
        self.beat = Heartbeat(self, Disk(), ranks)

    def step(self, word: dict[str, Any]) -> None:
        """Do this rank's share of a step."""
        if "bends" in word:
            bends = [parse(raw) for raw in word["bends"]]
            self.progress.bends = [one for one in bends if isinstance(one, Event | Remedy)]
            self.plan = Plan(self.recipe, self.progress.bends)
            self.ahead.clear()
        step, self.phase = word["step"], "data"
        knobs = self.plan.at(step)
        if knobs_sha(knobs) != word["knobs"]:
            raise other_plan(self.ranks.rank, step)
        batch, self.phase = self.ahead.get(step), "step"
        rows = micro_rows(self.progress.bends, step, self.recipe.train.batch)
        self.learner.micro_rows = rows
        report = advance(self.learner, batch, knobs, probe=word["probe"])
        self.ranks.gather(answer(report, self.caught()))
        self.progress.step, self.progress.last, self.phase = step, report, "idle"

    def level(self, word: dict[str, Any]) -> None:  # noqa: ARG002 (as every word is taken)
        """Take the first rank's weights: it went back to a checkpoint."""
        self.rows.settle()
        if self.learner.shards is not None:
            self.ranks.hand_out(self.learner, None)
        else:
            self.ranks.level(self.learner)
        self.ahead.clear()

    def save(self, word: dict[str, Any]) -> None:
        """Save this rank's rows, beside the steps where they are copied."""
        self.rows.save(word["step"], word["generation"], word["copy"])

    def whole(self, word: dict[str, Any]) -> None:  # noqa: ARG002 (as every word is taken)
        """Let the first rank see the weights whole."""
        self.ranks.whole(self.learner)

    def caught(self) -> tuple[str, int] | None:
        """Give the signal that this rank was sent, and the code to leave with."""
        caught = self.signals.caught
        return None if caught is None else (caught.name, self.signals.exit)

    def close(self) -> None:
        """Let go of threads and handlers."""
        self.rows.close()
        self.beat.close()
        self.signals.__exit__()
        self.ahead.close()
        self.dataset.close()


def other_plan(rank: int, step: int) -> RunError:
    """Say that a rank would train with other knobs than the first."""
    return RunError(
        Problem(
            what=f"rank {rank} at step {step}",
            value="",
            why="its plan has other knobs than rank 0's, though both come from the same events",
            instead="Report this; what is saved stands, and --procs 1 goes on from it",
        ),
        exit=1,
    )
