"""Goes on with a run: compares, loads the newest save, asks the rules, and trains on."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from surefoot.data.tokenizer import load as load_tokenizer
from surefoot.errors import Problem, RunError
from surefoot.guard import book
from surefoot.guard.acceptance import STOPPED, Accepted, Names, before
from surefoot.guard.preflight import refusals, rule
from surefoot.plan.plan import Plan
from surefoot.recipe.schema import Recipe
from surefoot.records import Event, read
from surefoot.run import ways
from surefoot.run.asked import Asked, Chosen, Ended
from surefoot.run.auditing import leaks, preflighted
from surefoot.run.beginning import (
    at_home,
    own_tokenizer,
)
from surefoot.run.ending import judged, trained
from surefoot.run.folder import read_status, step_of
from surefoot.run.launched import fitting, last_ranks, of_each
from surefoot.run.measuring import forecast
from surefoot.run.memory_cap import capped
from surefoot.run.mode import mode_of, shards, tell_mode
from surefoot.run.opening import Found, Opening, go_on, read_data
from surefoot.run.progress import Progress, branch_of
from surefoot.run.resuming import barred, differences, planned, refuse
from surefoot.run.situated import situated
from surefoot.shelf.checkpoint import candidates
from surefoot.shelf.disk import Disk
from surefoot.shelf.load import fallback, find, load, newest
from surefoot.shelf.lock import Lock
from surefoot.shelf.pointers import target
from surefoot.shelf.save import Content
from surefoot.show.terminal import Terminal


def resumed(asked: Asked, chosen: Chosen, terminal: Terminal) -> Ended:
    """Go on with a run, if what changed since allows it."""
    assert chosen.folder is not None and chosen.there is not None, "resumed without a run"
    folder, recipe, there = chosen.folder, chosen.recipe, chosen.there
    changes = differences(there, recipe)
    refuse(folder, barred(changes, asked.fresh))
    if wrong := fitting(recipe, asked.ranks.world):
        raise RunError(*wrong, exit=3)
    status = read_status(folder)
    if status.get("state") == "finished" and not any(planned(key) for key in changes):
        terminal.said(f"finished at step {status.get('step')}: {folder}")
        return Ended(0, status, folder)
    disk = Disk()
    lock = Lock(folder, disk)
    try:
        return going_on(asked, chosen, terminal, changes, lock)
    except BaseException:
        lock.release()
        raise


def going_on(
    asked: Asked, chosen: Chosen, terminal: Terminal, changes: Mapping[str, Any], lock: Lock
) -> Ended:
    """Load the checkpoint, check the rate, and train on."""
    assert chosen.folder is not None, "resumed without a run"
    folder, recipe, disk = chosen.folder, chosen.recipe, Disk()
    names = accepting(folder, asked, recipe)
    cap = capped(recipe)
    recipe, dataset = read_data(at_home(recipe, folder), terminal.preparing)
    recipe = own_tokenizer(recipe)
    old = newest_content(folder, ways.start_of(asked.resume_lr, asked.start), disk)
    content = old.content if old is not None else None
    fresh = ways.fresh_roles(asked.fresh, recipe)
    events = [
        *ways.resumed_lr(asked.resume_lr, recipe, content),
        *ways.warmed_up(fresh, recipe, content),
    ]
    mode = mode_of(recipe, asked.place)
    cost = forecast(recipe, dataset, folder, None, shards(mode, asked.place))
    ahead = leaks(recipe) if content is None else None  # from the beginning: as a new run does
    each = of_each(recipe, asked.ranks.world)
    situation = situated(
        each,
        dataset,
        cost,
        world=asked.ranks.world,
        pin=asked.pin,
        plan_changed=any(planned(key) for key in changes),
        run=str(folder),
        leaks=ahead,
        **rates(recipe, content, folder, events),
    )
    findings, accepted = rule(each, situation, names)
    terminal.rules = len(book.entries())
    if asked.dry or refusals(findings):
        terminal.plan(recipe, chosen.where, dataset, cost, findings)
        lock.release()
        return judged(recipe, cost, findings)
    same_data(content, dataset, folder)
    terminal.begin(recipe)
    terminal.place = terminal.followed.folder = str(folder)
    if old is not None and old.skipped:
        terminal.said(fallback(old.skipped, old.content))
    step = content.step if content else 0
    terminal.said(f"resumed  {folder} from step {step} of {recipe.train.steps}")
    tell_ranks(asked.ranks.world, last_ranks(folder), recipe, terminal)
    tell_mode(mode, asked.ranks.world, terminal)
    if cap is not None:
        terminal.said(f"memory   {cap}")
    # told again each time: what was said before the first save is cut off with the rest
    bends, taken = tuple(events), tuple(dict.fromkeys([*names.before, *accepted]))
    facts = {} if ahead is None else {"audit": preflighted(ahead)}
    opening = Opening(
        recipe,
        dataset,
        findings,
        facts,
        (terminal,),
        bends,
        fresh,
        taken,
        asked.ranks,
        asked.place.launch,
        mode=mode,
    )
    return trained(go_on(opening, folder, lock, old, disk), terminal)


def tell_ranks(now: int, before: int, recipe: Recipe, terminal: Terminal) -> None:
    """Say how the same batches are shared out when the number of ranks has changed."""
    if now != before:
        old, new = (recipe.train.accumulate // ranks for ranks in (before, now))
        terminal.said(f"ranks    {before} -> {now}: accumulate {old} -> {new}, same batches")


def accepting(folder: Path, asked: Asked, recipe: Recipe) -> Names:
    """Gather what is accepted, now and before in this run."""
    journal = folder / "journal.jsonl"
    earlier = before(read(journal)) if journal.is_file() else ()
    stopped = stopped_by_guard(folder, asked)
    return Names(asked.accept, tuple(recipe.guard.accept), earlier, stopped)


def stopped_by_guard(folder: Path, asked: Asked) -> tuple[Accepted, ...]:
    """Refuse to go on with a run that the guard stopped, unless a person says so."""
    status = read_status(folder)
    if status.get("exit") != 4:
        return ()
    if STOPPED not in asked.accept:
        raise RunError(
            Problem(
                what=str(folder),
                value="",
                why=f"the guard stopped this run ({status.get('reason')})",
                instead=f"Mend the cause, then write --resume {folder} --accept stopped",
            ),
            exit=3,
        )
    return (Accepted(STOPPED, f"step {status.get('step')}: {status.get('reason')}", "cli"),)


def newest_content(folder: Path, start: str | None, disk: Disk) -> Found | None:
    """Load the newest whole checkpoint, or the one that was asked for; None if none was made."""
    lineage = branches(folder)
    there = candidates(folder, lineage)
    if start is None:
        if not candidates(folder):
            return None
        content, skipped = newest(folder, lineage or None, disk)
        Progress.restored(content.step, content.generation, content.state)  # or it says why not
        return Found(content, skipped)
    content = load(find(folder, step_of(start) or start))
    Progress.restored(content.step, content.generation, content.state)
    newer = sum(one.step > content.step for one in there)
    return Found(content, [], newer, max(one.generation for one in candidates(folder)))


def branches(folder: Path) -> list[list[int]]:
    """Read from the journal which generation began where: [generation, from, from_step]."""
    path = folder / "journal.jsonl"
    records = read(path) if path.is_file() else ()
    return [branch for record in records if (branch := branch_of(record)) is not None]


def rates(
    recipe: Recipe, content: Content | None, folder: Path, events: Sequence[Event]
) -> dict[str, Any]:
    """Give the learning rates on both sides of the resume."""
    if content is None or content.step >= recipe.train.steps:
        return {}
    kept = target(folder, "pre-decay")
    return {
        "lr_last": content.state["metrics"].get("lr", {}),
        "lr_next": dict(Plan(recipe, [*ways.bends_of(content), *events]).at(content.step + 1).lr),
        "resumed_step": content.step,
        "pre_decay_step": kept.step if kept is not None else None,
    }


def same_data(content: Content | None, dataset: Any, folder: Path) -> None:
    """Refuse to go on over data, or with a tokenizer, that changed."""
    if content is None:
        return
    before = content.state["data"]["fingerprint"]
    same = load_tokenizer(content.tokenizer).save() == dataset.tokenizer.save()
    if before != dataset.fingerprint or not same:
        # a tokenizer is learnt from the data, or given: then it alone has changed
        changed = "data" if same else "tokenizer, or the data that it was learnt from,"
        raise RunError(
            Problem(
                what=str(folder),
                value="",
                why=f"its {changed} changed since step {content.step}: fingerprint {before[:12]} "
                f"then, {dataset.fingerprint[:12]} now",
                instead="Bring the old files back, or start a new run",
            ),
            exit=3,
        )
