"""What the first rank tells the others of its run, and hears from them after each step."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

import surefoot
from surefoot.errors import Problem, RunError
from surefoot.learn.learner import Learner
from surefoot.learn.ranks import Ranks
from surefoot.learn.weights import copied
from surefoot.model.model import Model
from surefoot.plan.plan import Knobs
from surefoot.plan.shape import shape
from surefoot.recipe import write
from surefoot.recipe.schema import Recipe
from surefoot.records import Step, row
from surefoot.run import shared_folder
from surefoot.shelf.disk import Disk
from surefoot.shelf.save import Content

if TYPE_CHECKING:
    from surefoot.run.run import Run

PACKAGE = Path(surefoot.__file__).parent


class Lead:
    """The first rank's side of the talk; with one rank nothing is said."""

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks
        self.bends: list[Any] | None = None  # as the others know them
        self.began = False
        self.held: dict[str, torch.Tensor] = {}  # whole, until sharded ranks have their rows of it

    @property
    def alone(self) -> bool:
        """Whether there is nobody to talk to."""
        return self.ranks.world == 1

    def open(self, recipe: Recipe) -> None:
        """Make the lines that sharded weights go over: they are needed to build a learner."""
        timeout_s = recipe.distributed.timeout_s
        self.ranks.say({"do": "open", "timeout_s": timeout_s})
        self.ranks.open(timeout_s)

    def begin(self, run: "Run") -> None:
        """Have the others build the same learner over the same data, and give them its weights."""
        if not self.alone:
            told = {"recipe": write.text(run.recipe), "run": str(run.folder)}
            self.ranks.say({"do": "begin", **told, "sharded": run.learner.shards is not None})
        together(self.ranks, run.learner, run.recipe, run.dataset.fingerprint, run.folder)
        if run.learner.shards is not None:
            self.ranks.hand_out(run.learner, self.held)
            self.held = {}
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

    def again(self, run: "Run", content: Content) -> None:
        """Give the others the weights that this rank has gone back to."""
        if self.began and not self.alone:
            self.ranks.say({"do": "level"})
            if run.learner.shards is not None:
                self.ranks.hand_out(run.learner, {**content.model, **content.optim})
            else:
                self.ranks.level(run.learner)

    def save(self, run: "Run", copy: bool) -> None:
        """Have the others save their rows of this step; they wait where nothing is copied."""
        if run.learner.shards is not None:
            state = {"step": run.progress.step, "generation": run.progress.generation}
            self.ranks.say({"do": "save", "copy": copy, **state})

    def model(self, run: "Run") -> Model:
        """Give the model to look at; of sharded weights a copy that is whole."""
        if run.learner.shards is None:
            return cast("Model", run.learner.model)
        self.ranks.say({"do": "whole"})
        held = self.ranks.whole(run.learner)
        return copied(run.recipe.model, shape(run.recipe), run.learner.device, held)

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


def together(
    ranks: Ranks, learner: Learner, recipe: Recipe, fingerprint: str, folder: Path
) -> None:
    """Make a learner one of all ranks': compared first, for one may still be reading the corpus."""
    own = recipe.distributed
    if ranks.world > 1:
        refuse_different(ranks.gather(identity(fingerprint), "words"))
        if learner.shards is None:
            ranks.open(own.timeout_s)
        else:
            shared_folder.insist(ranks, folder, Disk())
    ranks.join(learner, own.reduce, own.lanes or 1)
    if learner.shards is None:
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
