"""Rules of a recipe that concern more than one key and need nothing but the recipe."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from surefoot import kinds
from surefoot.errors import Problem, nearest
from surefoot.recipe.choice import Choice, Knob

if TYPE_CHECKING:
    from surefoot.recipe.schema import Recipe

BOOK = {
    "gqa": ("refuse!", "heads that don't divide, or an odd head under rotary positions", "003"),
    "wsd_phases": ("refuse!", "warm-up and decay that are longer than the run", "003"),
    "memory_units": ("refuse!", "one memory limit in two units", "001, 004"),
}


def problems(recipe: "Recipe") -> list[Problem]:
    """Find every contradiction of a recipe."""
    shape = (heads, pattern, tied_head, windows, choices)
    plan = (knobs, schedules, batch, memory_units, monitors)
    return [problem for check in (*shape, *plan) for problem in check(recipe)]


def heads(recipe: "Recipe") -> Iterator[Problem]:
    """Heads must divide the width, and key heads the query heads."""
    model = recipe.model
    if model.dim % model.heads:
        divisors = [
            n for n in range(1, model.dim + 1) if model.dim % n == 0 and n <= 4 * model.heads
        ]
        best = min(divisors, key=lambda n: abs(n - model.heads))
        yield Problem(
            what="model.heads",
            value=str(model.heads),
            why=f"model.dim = {model.dim} can't be cut into {model.heads} equal heads (gqa)",
            instead=f"Write model.heads={best} (divisors: {', '.join(map(str, divisors))})",
        )
    if model.kv_heads and model.heads % model.kv_heads:
        divisors = [n for n in range(1, model.heads + 1) if model.heads % n == 0]
        best = min(divisors, key=lambda n: abs(n - model.kv_heads))
        yield Problem(
            what="model.kv_heads",
            value=str(model.kv_heads),
            why=f"heads ({model.heads}) must be a multiple of kv_heads ({model.kv_heads}) (gqa)",
            instead=f"Write model.kv_heads={best} (divisors: {', '.join(map(str, divisors))})",
        )


def pattern(recipe: "Recipe") -> Iterator[Problem]:
    """Each letter of the pattern must be a mixer, and no more letters than layers."""
    model = recipe.model
    known, first = ", ".join(model.mixers), next(iter(model.mixers), "L")
    for letter in dict.fromkeys(model.pattern):
        if letter not in model.mixers:
            yield Problem(
                what="model.pattern",
                value=f'"{model.pattern}"',
                why=f'no mixer has the letter "{letter}" (there are: {known})',
                instead=f'Write a table [model.mixers.{letter}] or model.pattern="{first}"',
            )
    if len(model.pattern) > model.layers:
        yield Problem(
            what="model.pattern",
            value=f'"{model.pattern}"',
            why=f"it has {len(model.pattern)} letters for {model.layers} layers",
            instead=f'Write model.pattern="{model.pattern[: model.layers]}" or '
            f"model.layers={len(model.pattern)}",
        )
    if model.value_embeddings * 2 > model.layers:
        yield Problem(
            what="model.value_embeddings",
            value=str(model.value_embeddings),
            why=f"each table serves one of the first and one of the last layers, and there are "
            f"only {model.layers}",
            instead=f"Write model.value_embeddings={model.layers // 2}",
        )


def tied_head(recipe: "Recipe") -> Iterator[Problem]:
    """A tied head learns as the embedding does."""
    if recipe.model.tied and "head" in recipe.optim:
        yield Problem(
            what="optim.head",
            value="",
            why="head is tied to embedding",
            instead="Remove optim.head or write model.tied=false",
        )


def references(recipe: "Recipe") -> Iterator[tuple[str, str]]:
    """Give each place in the model that a knob moves, and the knob's name."""
    owners: list[tuple[str, Choice]] = [
        (f"model.mixers.{letter}", options) for letter, options in recipe.model.mixers.items()
    ]
    owners += [("model.head", recipe.model.head), ("model.stream", recipe.model.stream)]
    for place, options in owners:
        for name in type(options).model_fields:
            value = getattr(options, name)
            if isinstance(value, Knob):
                yield f"{place}.{name}", value.knob


def knobs(recipe: "Recipe") -> Iterator[Problem]:
    """A knob that the model asks for must be there, and a knob that nobody reads is a mistake."""
    asked = dict(references(recipe))
    for place, knob in asked.items():
        if knob not in recipe.knobs:
            best = nearest(knob, recipe.knobs) or ["window"]
            yield Problem(
                what=place,
                value=f'{{knob = "{knob}"}}',
                why="the recipe has no such knob",
                instead=f'Write a table [knobs.{knob}], or {place}.knob="{best[0]}"',
            )
    known = {"lr", "momentum", *asked.values(), *(f"lr_{role}" for role in recipe.optim)}
    for knob in recipe.knobs:
        if knob not in known:
            best = nearest(knob, known)
            hint = f"did you mean knobs.{best[0]}?" if best else "remove the table"
            yield Problem(
                what=f"knobs.{knob}",
                value="",
                why=f"nothing in this recipe reads this knob ({', '.join(sorted(known))} are read)",
                instead=f'Write {{knob = "{knob}"}} where it belongs, or {hint}',
            )


def windows(recipe: "Recipe") -> Iterator[Problem]:
    """A window can't be larger than the sequence."""
    limit = recipe.train.seq_len
    for letter, options in recipe.model.mixers.items():
        window = getattr(options, "window", None)
        place = f"model.mixers.{letter}.window"
        if isinstance(window, Knob):
            schedule = recipe.knobs.get(window.knob)
            window, place = getattr(schedule, "start", None), f"knobs.{window.knob}.start"
        if isinstance(window, int | float) and window > limit:
            yield Problem(
                what=place,
                value=str(window),
                why=f"a window can't be larger than the sequence (train.seq_len = {limit})",
                instead=f"Write {place}={limit} or train.seq_len={window:.0f}",
            )


def schedules(recipe: "Recipe") -> Iterator[Problem]:
    """Each schedule must fit into the run."""
    from surefoot.recipe.span import Span

    span = Span(steps=recipe.train.steps, layers=recipe.model.layers)
    for name, options in recipe.knobs.items():
        check: Any = getattr(options, "problems", None)
        if check is not None:
            yield from check(f"knobs.{name}", span)


def batch(recipe: "Recipe") -> Iterator[Problem]:
    """A stated effective batch must be the product."""
    train = recipe.train
    rows = train.batch * train.accumulate
    stated = train.effective_batch
    if stated is not None and stated % rows:  # ranks may make up the rest
        yield Problem(
            what="train.effective_batch",
            value=str(stated),
            why=f"train.batch x train.accumulate = {train.batch} x {train.accumulate} = {rows}",
            instead=f"Write train.effective_batch={rows}",
        )


def memory_units(recipe: "Recipe") -> Iterator[Problem]:
    """A memory limit is given in one unit."""
    limits = recipe.limits
    if limits.mem_gib is not None and limits.mem_gb is not None:
        yield Problem(
            what="limits.mem_gb",
            value=str(limits.mem_gb),
            why="limits.mem_gib is given too, and one limit has one unit "
            f"({limits.mem_gb} GB = {limits.mem_gb * 1e9 / 2**30:.2f} GiB)",
            instead="Remove limits.mem_gib",
        )


def choices(recipe: "Recipe") -> Iterator[Problem]:
    """Each mixer's own rules about the shape that it is given."""
    model = recipe.model
    if model.dim % model.heads:
        return
    for letter, options in model.mixers.items():
        check: Any = getattr(options, "problems", None)
        if check is not None:
            yield from check(f"model.mixers.{letter}", recipe)


def monitors(recipe: "Recipe") -> Iterator[Problem]:
    """Options may be given to monitors that exist, and each must be one it knows."""
    from surefoot.recipe.explain import flat, said  # which reads the schema, and that reads this

    known = kinds.names("monitors")
    for name, given in recipe.guard.monitors.items():
        if name not in known:
            best = nearest(name, known) or known
            yield Problem(
                what=f"guard.monitors.{name}",
                value="",
                why="there is no such monitor",
                instead=f"Write guard.monitors.{best[0]} (there are {', '.join(known)})",
            )
            continue
        options = kinds.find("monitors", name).Options
        try:
            options.model_validate(dict(given))
        except ValidationError as error:
            fields = sorted(options.model_fields)
            for loc, detail in flat(error.errors(include_url=False), ("guard", "monitors", name)):
                yield from said(loc, {**detail, "fields": fields})
