"""What the first rank tells the others of its run, and hears from them after each step."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import surefoot
from surefoot.errors import Problem, RunError
from surefoot.learn.learner import Learner
from surefoot.learn.ranks import Ranks
from surefoot.plan.plan import Knobs
from surefoot.recipe import write
from surefoot.recipe.schema import Recipe
from surefoot.records import Step, row

if TYPE_CHECKING:
    from surefoot.run.run import Run

PACKAGE = Path(surefoot.__file__).parent


class Lead:
    """The first rank's side of the talk; with one rank nothing is said."""

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks
        self.bends: list[Any] | None = None  # as the others know them
        self.began = False

    @property
    def alone(self) -> bool:
        """Whether there is nobody to talk to."""
        return self.ranks.world == 1

    def begin(self, run: "Run") -> None:
        """Have the others build the same learner over the same data, and give them its weights."""
        if not self.alone:
            told = {"recipe": write.text(run.recipe), "run": str(run.folder)}
            self.ranks.say({"do": "begin", **told})
        together(self.ranks, run.learner, run.recipe, run.dataset.fingerprint)
        self.began = True

    def announce(self, run: "Run", step: int) -> None:
        """Tell which step is next, and what has bent the plan since the last one."""
        if self.alone:
            return
        bends = [row(bend) for bend in run.events]
        word: dict[str, Any] = {"do": "step", "step": step, "probe": run.probes(step)}
        if bends != self.bends:
            word["bends"] = self.bends = bends
        word["knobs"] = knobs_sha(run.plan.at(step))
        self.ranks.say(word)

    def again(self, run: "Run") -> None:
        """Give the others the weights that this rank has gone back to."""
        if self.began and not self.alone:
            self.ranks.say({"do": "level"})
            self.ranks.level(run.learner)

    def answers(self, run: "Run", report: Step) -> dict[str, Any]:
        """Hear from every rank what it has seen of this step: fields of its report."""
        if self.alone:
            return {}
        told = self.ranks.gather(answer(report, None))
        for rank, said in enumerate(told):
            if rank and said["signal"]:
                name, code = said["signal"]
                run.ask_to_stop(f"signal {name} (rank {rank})", code)
        return {
            "loss_checksum": {str(rank): said["checksum"] for rank, said in enumerate(told)},
            "rank_age_s": {str(rank): said["age_s"] for rank, said in enumerate(told)},
        }


def together(ranks: Ranks, learner: Learner, recipe: Recipe, fingerprint: str) -> None:
    """Make a learner one of all ranks': compared first, for one may still be reading the corpus."""
    own = recipe.distributed
    if ranks.world > 1:
        refuse_different(ranks.gather(identity(fingerprint)))
    ranks.join(learner, own.reduce, own.lanes or 1, own.timeout_s)
    ranks.level(learner)


def answer(report: Step, signal: tuple[str, int] | None) -> dict[str, Any]:
    """Say what one rank has seen of a step.

    Loss and norm are reduced over all ranks; the change of the weights is each rank's own.
    """
    seen = [
        report.loss,
        report.grad_norm,
        report.skipped,
        sorted((report.update_ratio or {}).items()),
    ]
    parts = (report.forward_s, report.backward_s)
    return {
        "checksum": hashlib.sha256(repr(seen).encode()).hexdigest()[:16],
        "age_s": round(sum(part for part in parts if part is not None), 3),
        "signal": signal,
    }


def knobs_sha(knobs: Knobs) -> str:
    """Hash all knobs of a step."""
    told = [knobs.step, dict(knobs.lr), knobs.momentum, dict(knobs.values)]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def identity(fingerprint: str) -> dict[str, str]:
    """Say what has to be one on all ranks: the code, torch, and the data."""
    code = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        code.update(path.relative_to(PACKAGE).as_posix().encode() + path.read_bytes())
    return {
        "surefoot's files": code.hexdigest()[:12],
        "torch": torch.__version__,
        "the corpus": fingerprint[:12],
    }


def refuse_different(told: Sequence[Mapping[str, str]]) -> None:
    """Refuse ranks that would not train the same model, naming rank and item."""
    problems = [
        Problem(
            what=f"rank {rank}",
            value=said[item],
            why=f"{item} differs from rank 0's ({told[0][item]})",
            instead="Bring all ranks to the same files, then start them again",
        )
        for rank, said in enumerate(told)
        for item in said
        if said[item] != told[0][item]
    ]
    if problems:
        raise RunError(*problems, exit=3)
