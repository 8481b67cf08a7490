"""One call of `surefoot train` or `preflight`: from what was typed to how it ended."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from surefoot.data.tokenizer import load as load_tokenizer
from surefoot.errors import Problem, RecipeError, RunError, UsageError
from surefoot.guard import book
from surefoot.guard.acceptance import STOPPED, Accepted, Names, before
from surefoot.guard.preflight import refusals, rule
from surefoot.guard.situation import Forecast
from surefoot.learn.ranks import Ranks
from surefoot.plan.plan import Plan
from surefoot.recipe import load as recipes
from surefoot.recipe import write
from surefoot.recipe.checks import problems
from surefoot.recipe.schema import Recipe
from surefoot.records import Event, Finding, read
from surefoot.run import drill, ways
from surefoot.run.auditing import preflighted
from surefoot.run.beginning import (
    FILE,
    adopted,
    at_home,
    compared,
    origin_of,
    own_tokenizer,
)
from surefoot.run.device import device_of, is_here
from surefoot.run.folder import find_run, new_folder, read_status, step_of
from surefoot.run.launched import Place, first_ranks, fitting, last_ranks, of_each, spread
from surefoot.run.measuring import Timed, forecast, measure, steps_in
from surefoot.run.memory_cap import capped
from surefoot.run.mode import Mode, minutes_time_steps, mode_of, shards
from surefoot.run.opening import Found, Opening, begin, go_on, read_data
from surefoot.run.progress import Progress, branch_of
from surefoot.run.resuming import as_there, barred, differences, planned, refuse, stored
from surefoot.run.run import Outcome, Run
from surefoot.run.situated import situated
from surefoot.shelf.checkpoint import candidates
from surefoot.shelf.disk import TMP, Disk
from surefoot.shelf.format import TOKENIZER
from surefoot.shelf.load import fallback, find, load, newest
from surefoot.shelf.lock import Lock
from surefoot.shelf.pointers import target
from surefoot.shelf.save import Content
from surefoot.show.terminal import Terminal


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person asked for."""

    what: str = "starter"
    named: bool = True  # whether `what` was written, or is the default
    changes: tuple[str, ...] | Mapping[str, Any] = ()
    run: Path | None = None
    resume: str | None = None
    start: str | None = None
    resume_lr: str | None = None
    fresh: tuple[str, ...] = ()
    drill: str | None = None
    accept: tuple[str, ...] = ()
    pin: str | None = None
    dry: bool = False
    init_from: str | None = None
    timed: bool = True
    place: Place = Place()  # noqa: RUF009 (frozen)
    ranks: Ranks = field(default_factory=Ranks)


@dataclass(frozen=True, slots=True)
class Ended:
    """How it ended."""

    exit: int
    status: Mapping[str, Any] = field(default_factory=dict[str, Any])
    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class Chosen:
    """The recipe that will run, and the run that it goes on with, if any."""

    recipe: Recipe
    where: str
    given: frozenset[str]  # dotted keys that somebody wrote
    folder: Path | None = None
    there: Recipe | None = None  # what the run folder holds
    typed: frozenset[str] = frozenset()  # those of `given` that the command line has


def session(asked: Asked, terminal: Terminal, edge: Any = None) -> Ended:
    """Choose, check, and train."""
    chosen = choose(asked)
    if chosen.folder is not None:
        if edge is not None:
            edge.folder = chosen.folder
        return resumed(asked, chosen, terminal)
    return started(asked, chosen, terminal, edge)


def choose(asked: Asked) -> Chosen:
    """Find the recipe: of the run to go on with, or the one that is named."""
    if asked.resume is not None:
        if asked.init_from is not None:
            why = "it starts a new run, and --resume goes on with an old one"
            raise UsageError(Problem("--init-from", asked.init_from, why, "Leave out --resume"))
        folder = find_run(asked.resume)
        there = stored(folder)
        if asked.named and asked.what:
            loaded = recipes.load(asked.what, asked.changes)
            recipe = as_there(loaded.recipe, there, first_ranks(folder))
        else:
            loaded = recipes.load(folder / "recipe.toml", asked.changes)
            recipe = as_there(loaded.recipe, there)
        return Chosen(recipe, loaded.where, frozenset(loaded.sources), folder, there)
    loaded = recipes.load(asked.what, asked.changes)
    given = frozenset(loaded.sources)
    if asked.run is not None and (asked.run / "recipe.toml").is_file():
        there = stored(asked.run)
        recipe = as_there(loaded.recipe, there, first_ranks(asked.run))
        if asked.init_from is not None:  # its weights brought their tokenizer
            data = recipe.data.model_copy(update={"tokenizer": there.data.tokenizer})
            recipe = recipe.model_copy(update={"data": data})
        changed = differences(there, recipe)
        refuse(asked.run, {k: v for k, v in changed.items() if barred({k: v}) or planned(k)})
        return Chosen(recipe, loaded.where, given, asked.run, there)
    recipe = spread(loaded.recipe, asked.ranks.world)
    if wrong := fitting(recipe, asked.ranks.world):
        raise RecipeError(*wrong)
    typed = frozenset(key for key, who in loaded.sources.items() if who == "command line")
    return Chosen(recipe, loaded.where, given, typed=typed)


def started(asked: Asked, chosen: Chosen, terminal: Terminal, edge: Any) -> Ended:
    """Start a new run."""
    if asked.drill is not None:
        drill.read(asked.drill, asked.ranks.world)  # a mistake is told before the corpus is read
    if asked.start is not None:
        raise UsageError(
            Problem("--from", asked.start, "there is no run to go on with", "Add --resume RUN")
        )
    here = is_here(chosen.recipe.train.device)
    if not (here or asked.dry):
        device_of(chosen.recipe.train.device)  # says that it isn't there
    cap = capped(chosen.recipe)
    origin = origin_of(asked.init_from) if asked.init_from is not None else None
    wanted = chosen.recipe if origin is None else adopted(chosen.recipe, origin, chosen.typed)
    recipe, dataset = read_data(wanted, terminal.preparing)
    begun = None if origin is None else compared(recipe, origin, dataset.tokenizer)
    home = asked.run or Path("runs")
    mode = mode_of(recipe, asked.place)
    minutes_time_steps(recipe, mode, "train.steps" in chosen.given)
    # one rank may have no room for all of a model
    times = asked.timed and here and mode != "fsdp"
    timed = measure(recipe, dataset, asked.place) if times else None
    recipe = settled(recipe, chosen.given, timed, dataset)
    cost = forecast(recipe, dataset, nearest_folder(home), timed, shards(mode, asked.place))
    ahead = leaks(recipe)
    more = {} if begun is None else begun.situation()
    each, world = of_each(recipe, asked.ranks.world), asked.ranks.world
    situation = situated(each, dataset, cost, pin=asked.pin, leaks=ahead, world=world, **more)
    names = Names(asked.accept, tuple(recipe.guard.accept))
    findings, accepted = rule(each, situation, names)
    terminal.rules = len(book.entries())
    terminal.plan(recipe, chosen.where, dataset, cost, findings)
    if asked.dry or refusals(findings):
        return judged(recipe, cost, findings)
    folder = made(asked.run) if asked.run is not None else new_folder(recipe.name)
    if edge is not None:
        edge.folder = folder
    facts = {"forecast": asdict(cost), "parameters": dict(cost.parameters)}
    facts |= {"audit": preflighted(ahead)}
    if begun is not None:
        facts |= {"init_from": begun.row()}
        terminal.said(f"weights  {begun}")
    if cap is not None:
        facts |= {"mem_cap": cap.row()}
        terminal.said(f"memory   {cap}")
    opening = Opening(
        recipe,
        dataset,
        findings,
        facts,
        (terminal,),
        accepted=tuple(accepted),
        ranks=asked.ranks,
        launch=asked.place.launch,
        begun=begun,
        mode=mode,
    )
    tell_mode(mode, world, terminal)
    terminal.folder(folder)
    run = begin(opening, folder)
    if asked.drill is not None:
        drill.put(run, asked.drill)
    return trained(run, terminal)


def settled(recipe: Recipe, given: frozenset[str], timed: Timed | None, dataset: Any) -> Recipe:
    """Write out what was left to the machine: threads, and steps where minutes are given."""
    steps = recipe.train.steps
    if recipe.train.minutes is not None and "train.steps" not in given and timed is not None:
        steps = steps_in(recipe, timed, dataset)
    threads = timed.threads if timed is not None else recipe.train.threads
    full = write.resolved(recipe, steps=steps, threads=threads)
    if wrong := problems(full):
        raise RecipeError(*wrong)
    return full


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


def tell_mode(mode: Mode, ranks: int, terminal: Terminal) -> None:
    """Say where weights are shared out."""
    if mode == "fsdp":
        terminal.said(f"ranks    {ranks}, each with its own rows of the weights (fsdp)")


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


def leaks(recipe: Recipe) -> tuple[str, ...]:
    """Ask the audit's quick form whether the model sees the future."""
    from surefoot.audit.audit import quick

    return quick(recipe)


def judged(recipe: Recipe, cost: Forecast, findings: list[Finding]) -> Ended:
    """Tell what preflight found, without starting."""
    refused = refusals(findings)
    status = {
        "state": "refused" if refused else "checked",
        "exit": 3 if refused else 0,
        "recipe": recipe.name,
        "recipe_sha": write.sha(recipe),
        "pin": write.pin(recipe),
        "steps": recipe.train.steps,
        "threads": recipe.train.threads,
        "forecast": asdict(cost),
        "findings": [asdict(finding) for finding in findings],
    }
    return Ended(3 if refused else 0, status)


def trained(run: Run, terminal: Terminal) -> Ended:
    """Train an open run and close it, whatever happens."""
    from surefoot.train import train

    terminal.samples = lambda: run.judge.samples
    try:
        with run.signals:
            run.lead.begin(run)
            # a signal may have come while the run was opened
            outcome: Outcome = run.saved_and_stopped() if run.stop_requested else train(run)
    finally:
        run.close()
    return Ended(outcome.exit, read_status(outcome.folder), outcome.folder)


def made(folder: Path) -> Path:
    """Make the folder that was asked for."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            Problem(
                what="--run",
                value=str(folder),
                why=f"the folder can't be made ({error.strerror})",
                instead="Write --run with a folder that can be written",
            )
        ) from None
    if foreign := [path.name for path in folder.iterdir() if not left(path.name)]:
        raise RunError(
            Problem(
                what="--run",
                value=str(folder),
                why=f"it is not empty and no run of ours ({', '.join(sorted(foreign)[:3])})",
                instead="Write --run with a new folder",
            )
        )
    return folder


def left(name: str) -> bool:
    """Say whether a file is of a start that was killed before it wrote anything."""
    return name in ("lock", "owner.json", FILE, TOKENIZER) or name.startswith(TMP)


def nearest_folder(path: Path) -> Path:
    """Give the deepest folder of a path that exists."""
    path = path.absolute()
    while not path.is_dir():
        path = path.parent
    return path
