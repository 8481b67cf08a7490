"""Opens a run: makes a new folder, or goes on from a checkpoint exactly where it stood."""

import dataclasses
import hashlib
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

import surefoot
from surefoot.data.ahead import Ahead
from surefoot.data.dataset import Dataset, prepare
from surefoot.errors import Problem, RecipeError, RunError
from surefoot.guard.acceptance import Accepted
from surefoot.guard.monitor import Watch
from surefoot.guard.ruling import LONG_STEPS
from surefoot.learn.learner import Learner
from surefoot.learn.ranks import Ranks
from surefoot.learn.threads import set_threads
from surefoot.model.facts import forecast_parameters
from surefoot.model.model import build
from surefoot.plan.plan import Plan
from surefoot.plan.shape import shape
from surefoot.recipe import write
from surefoot.recipe.schema import Recipe
from surefoot.records import Event, Finding, Header, Remedy, parse, read
from surefoot.run import seed_names
from surefoot.run.beginning import Begun, begun_again, keep
from surefoot.run.device import device_of, machine
from surefoot.run.judging import Judge
from surefoot.run.leading import Lead
from surefoot.run.mode import Mode
from surefoot.run.progress import Progress
from surefoot.run.run import Run
from surefoot.run.saving import Saver
from surefoot.run.signals import Signals
from surefoot.run.situated import usable_gib
from surefoot.run.telemetry import Telemetry
from surefoot.shelf import journal as journals
from surefoot.shelf.checkpoint import newest_name
from surefoot.shelf.disk import Disk
from surefoot.shelf.journal import Journal, Offset
from surefoot.shelf.lock import Lock, host_hash
from surefoot.shelf.save import Content
from surefoot.shelf.shelf import Shelf

BOOK = {"vocab_ids": ("refuse!", "the tokenizer has more ids than the embedding has rows", "003")}


@dataclass(frozen=True, slots=True)
class Opening:
    """What is decided before a run's folder is touched."""

    recipe: Recipe  # resolved
    dataset: Dataset
    findings: list[Finding] = field(default_factory=list[Finding])
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])  # forecast and the like
    listeners: tuple[Any, ...] = ()
    events: tuple[Event, ...] = ()  # a person's decisions that bend the plan from here on
    fresh: tuple[str, ...] = ()  # roles whose optimiser state is dropped by consent
    accepted: tuple[Accepted, ...] = ()  # refusals that a person takes upon himself
    ranks: Ranks = field(default_factory=Ranks)
    launch: str = ""  # names the launcher that started the ranks
    begun: Begun | None = None  # weights that a new run begins from
    mode: Mode = ""  # how several ranks share the weights


@dataclass(frozen=True, slots=True)
class Found:
    """The checkpoint to go on from, and how it was come by."""

    content: Content
    skipped: list[Any] = field(default_factory=list[Any])
    newer: int = 0  # checkpoints of later steps that are left behind: the run branches here
    generations: int = 0  # that there were so far, less one
    rewound: Progress | None = None  # after the rewind that led to this checkpoint

    def progress(self) -> Progress:
        """Give the run's progress; a branch is a generation of its own."""
        if self.rewound is not None:
            return self.rewound
        content = self.content
        progress = Progress.restored(content.step, content.generation, content.state)
        if self.newer:
            progress.branch(self.generations + 1)
        return progress


def read_data(recipe: Recipe, progress: Any = None) -> tuple[Recipe, Dataset]:
    """Prepare the corpus, and give the model the vocabulary that the tokenizer has."""
    train = recipe.train
    rows = train.batch * train.accumulate
    dataset = prepare(
        recipe.data, recipe.val, train.seed, train.seq_len, rows, None, progress=progress
    )
    needed, asked = dataset.tokenizer.vocab, recipe.model.vocab
    if asked and asked < needed:
        raise RecipeError(
            Problem(
                what="model.vocab",
                value=str(asked),
                why=f"the tokenizer has {needed} tokens (vocab_ids)",
                instead=f"Write model.vocab={-(-needed // 64) * 64} or 0",
            )
        )
    model = recipe.model.model_copy(update={"vocab": asked or -(-needed // 64) * 64})
    return trimmed(recipe.model_copy(update={"model": model})), dataset


def trimmed(recipe: Recipe) -> Recipe:
    """Leave out the optimisers of roles that no parameter of the model has."""
    roles = forecast_parameters(recipe.model, shape(recipe))
    optim = {role: options for role, options in recipe.optim.items() if role in roles}
    return recipe.model_copy(update={"optim": optim})


def begin(opening: Opening, folder: Path, disk: Disk | None = None) -> Run:
    """Start a run in a folder that is new and empty."""
    disk = disk or Disk()
    lock = Lock(folder, disk)
    # before the recipe, which makes the folder a run
    recipe = keep(opening.begun, opening.dataset.tokenizer, opening.recipe, folder, disk)
    opening = dataclasses.replace(opening, recipe=recipe)
    write_plan(opening.recipe, folder, disk)
    return compose(opening, folder, lock, disk, None)


def write_plan(recipe: Recipe, folder: Path, disk: Disk) -> None:
    """Write the resolved recipe, and the knobs at 64 steps for whoever draws them."""
    plan = Plan(recipe)
    curves = {name: plan.curve(name, 64) for name in recipe.knobs}
    disk.write_atomic(folder / "recipe.toml", write.text(recipe).encode())
    disk.write_atomic(folder / "plan.json", json.dumps({"v": 1, "knobs": curves}).encode())


def go_on(
    opening: Opening, folder: Path, lock: Lock, old: Found | None, disk: Disk | None = None
) -> Run:
    """Go on with a run from a checkpoint, or from its beginning if it never saved."""
    disk = disk or Disk()
    journal = folder / "journal.jsonl"
    content = old.content if old is not None else None
    offset = content.journal if content is not None else Offset(0, 0, EMPTY)
    if old is not None and (again := rewound(journal, old.content)):
        offset, progress = again
        old = dataclasses.replace(old, rewound=progress)
    cut = journals.cut(journal, offset, disk)
    write_plan(opening.recipe, folder, disk)
    disk.remove(folder / "stop")
    run = compose(opening, folder, lock, disk, old)
    step, generation = run.progress.step, run.progress.generation
    for decided in outside(journal, offset.bytes if offset is not None else 0):
        run.progress.follow(decided)
        run.watch.observe(decided)
    if cut.damaged:
        run.told(damaged(cut.damaged, step, generation))
    if old is not None and old.newer:
        args = {"from_generation": old.content.generation, "from_step": step}
        run.told(Event(name="branched", step=step, generation=generation, args=args))
    told: dict[str, Any] = {"from": step, "cut_lines": cut.lines}
    run.told(Event(name="resumed", step=step, generation=generation, args=told))
    for event in opening.events:
        run.watch.observe(run.told(dataclasses.replace(event, generation=generation)))
    run.plan = Plan(opening.recipe, run.events)
    if content is not None:
        run.saver.shelf.fallen_back(content)
        run.saver.mend_pointers(run)
    run.saver.shelf.sweep()  # the very first save may have been cut short
    return run


def outside(journal: Path, start: int) -> list[Event]:
    """Give the decisions of persons that were written after a checkpoint: no replay makes them."""
    found: list[Event] = []
    with journal.open("rb") as file:
        file.seek(start)
        for line in file:
            record = parse(json.loads(line)) if line.endswith(b"\n") else None
            if isinstance(record, Event) and record.name in journals.OUTSIDE:
                found.append(record)
    return found


def rewound(journal: Path, content: Content) -> tuple[Offset, Progress] | None:
    """Find the rewind that led back to a checkpoint: the run goes on after it, not before it."""
    if content.journal is None or not journal.is_file():
        return None
    found: tuple[Offset, Remedy] | None = None
    size, count, sha = 0, 0, hashlib.sha256()
    with journal.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            sha.update(line)
            size, count = size + len(line), count + 1
            record = parse(json.loads(line)) if size > content.journal.bytes else None
            if isinstance(record, Remedy) and record.name == "rewind":
                found = (Offset(size, count, sha.hexdigest()), record)
    if found is None or int(found[1].args["to_step"]) != content.step:
        return None
    before = Progress.replayed(read(journal), found[1])
    kept = Progress.restored(content.step, content.generation, content.state)
    return found[0], before.rewound(found[1], kept)


def damaged(why: str, step: int, generation: int) -> Finding:
    """Say that the journal is not the one that the checkpoint remembers."""
    return Finding(
        id="journal_damaged",
        severity="warn",
        what="journal.jsonl",
        value="",
        why=f"{why}; training goes on, since the checkpoint holds all that it depends on",
        instead="Keep a copy of the folder if its history matters",
        step=step,
        generation=generation,
        source="shelf",
    )


EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # sha256 of nothing


def compose(opening: Opening, folder: Path, lock: Lock, disk: Disk, old: Found | None) -> Run:
    """Put a run together; from a checkpoint, or from the first values."""
    recipe = opening.recipe
    insist(opening)
    progress = Progress() if old is None else old.progress()
    lead = Lead(opening.ranks)
    sharded = opening.mode == "fsdp"
    if sharded:
        lead.open(recipe)
    learner = make_learner(recipe, opening.ranks if sharded else None)
    if old is None:
        taken = begun_again(learner, folder)
        lead.held = taken if sharded else {}
    made = how(recipe, opening.ranks.world, opening.mode)
    shelf = Shelf(folder, recipe.save.keep, recipe.save.milestones, disk, made)
    shelf.fence = lock.check
    shelf.lineage = progress.lineage
    plan = Plan(recipe, progress.bends)
    facts = watch_facts(recipe, opening.dataset, learner, opening.ranks.world)
    watch = Watch(recipe.guard.monitors, {**facts, "planned": lambda step: run.plan.at(step).lr})
    if old is not None:
        kept = slots(learner, old.content, opening.fresh)
        learner.load(old.content.model, kept)
        lead.held = {**old.content.model, **kept} if sharded else {}
        watch.restore(old.content.state["monitors"])
        if old.rewound is not None:
            watch.observe(progress.remedies[-1])
        shelf.skipped = old.skipped
    run = Run(
        folder=folder,
        recipe=recipe,
        dataset=opening.dataset,
        learner=learner,
        journal=Journal(folder / "journal.jsonl", disk),
        plan=plan,
        watch=watch,
        progress=progress,
        saver=Saver(recipe, shelf, plan.pre_decay(), progress.step),
        judge=Judge(recipe),
        signals=Signals(recipe.save.grace_s, lambda: newest_name(folder)),
        ahead=Ahead(lambda step: opening.dataset.batch(step, run.progress.skips)),
        lock=lock,
        lead=lead,
        audit=dict(
            opening.facts.get("audit", {}) if old is None else old.content.state.get("audit", {})
        ),
    )
    shelf.journal = run.journal
    if recipe.logs.seed_names:
        seed_names.link(folder, disk)
    run.journal.trouble = run.journal_waits
    run.telemetry = Telemetry(run, disk)
    for listener in (run.overhear, run.telemetry, *opening.listeners):
        run.journal.subscribe(listener)
    run.told(Header(step=progress.step, generation=progress.generation, facts=header(run, opening)))
    for finding in opening.findings:
        run.told(finding)
    for one in opening.accepted:
        run.told(one.event(progress.step, progress.generation))
    return run


def insist(opening: Opening) -> None:
    """Hold a long run to its checkpoints once more, whoever opens it (004 had none in 24 h)."""
    recipe = opening.recipe
    taken = {one.id for one in opening.accepted}
    if recipe.save.every == 0 and recipe.train.steps >= LONG_STEPS and "save_every" not in taken:
        raise RunError(
            Problem(
                what="save.every",
                value="0",
                why=f"{recipe.train.steps} steps without a checkpoint are lost to one crash (004)",
                instead=f"Write save.every={LONG_STEPS}, or accept it with --accept save_every",
            ),
            exit=3,
        )


def slots(learner: Learner, content: Content, fresh: Sequence[str]) -> dict[str, Any]:
    """Give the saved optimiser state, and that of fresh roles as it begins."""
    own = learner.forms(learner.slots())
    new = {name for role in fresh for name in learner.roles.get(role, [])}
    kept = {n: t for n, t in content.optim.items() if n.rsplit("/", 1)[0] not in new}
    return kept | {
        n: torch.zeros_like(t, device=learner.device)
        for n, t in own.items()
        if n.rsplit("/", 1)[0] in new
    }


def watch_facts(
    recipe: Recipe, dataset: Dataset, learner: Learner, ranks: int = 1
) -> dict[str, Any]:
    """Tell the monitors what they can't see in the steps."""
    return {
        "recipe": recipe,
        "checkpoint_gib": checkpoint_bytes(learner) / 2**30,
        "corpus_tokens": dataset.tokens,
        "unigram_entropy": dataset.entropy,
        "bigram_entropy": dataset.pair_entropy,
        "mem_gib": usable_gib(recipe.train.device),
        "world": ranks,
    }


def fresh(run: Run) -> tuple[Learner, Watch]:
    """Make the learner and the monitors of step 0 again."""
    learner = make_learner(run.recipe)
    begun_again(learner, run.folder)
    facts = watch_facts(run.recipe, run.dataset, learner, run.lead.ranks.world)
    planned = {"planned": lambda step: run.plan.at(step).lr}
    return learner, Watch(run.recipe.guard.monitors, {**facts, **planned})


def make_learner(recipe: Recipe, ranks: Ranks | None = None) -> Learner:
    """Build the model with its first values, and what trains it; sharded over ranks, if given."""
    device = device_of(recipe.train.device)
    if device.type == "cpu" and recipe.train.threads:
        set_threads(recipe.train.threads)
    sizes, train = shape(recipe), recipe.train
    if ranks is not None:
        from surefoot.learn.shards import Shards, built  # not before: it costs an import

        shards = Shards(ranks.rank, ranks.world, ranks.group, recipe.distributed.accumulate_sharded)
        model = built(recipe.model, sizes, train, device, shards)
        return Learner(model, recipe.optim, train, device, shards)
    model = build(recipe.model, sizes, train.seed, device, train.grad_checkpointing)
    return Learner(model, recipe.optim, train, device)


def checkpoint_bytes(learner: Learner) -> int:
    """Count what a checkpoint of this learner takes."""
    held = learner.forms(learner.parameters | learner.slots()).values()
    return sum(tensor.numel() * tensor.element_size() for tensor in held)


def how(recipe: Recipe, ranks: int = 1, mode: Mode = "") -> dict[str, Any]:
    """Tell what made a checkpoint."""
    return {
        "surefoot": surefoot.__version__,
        "env": {
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "world": ranks,
            **({"mode": mode} if mode else {}),
            "deterministic": recipe.train.deterministic,
        },
    }


def header(run: Run, opening: Opening) -> dict[str, Any]:
    """Tell what the journal should know of this process."""
    return {
        "surefoot": surefoot.__version__,
        **machine(run.learner.device),
        "world": run.lead.ranks.world,
        **({"mode": opening.mode} if opening.mode else {}),
        **({"launch": opening.launch} if opening.launch else {}),
        "host_hash": host_hash(),
        "argv": sys.argv[1:],
        "pid": os.getpid(),
        "name": run.recipe.name,
        "recipe_sha": write.sha(run.recipe),
        "corpus_sha": run.dataset.fingerprint,
        "corpus": dict(run.dataset.facts),
        "steps": run.recipe.train.steps,
        "started_t": round(time.time(), 3),
        **opening.facts,
    }
