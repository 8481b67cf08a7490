"""A run's report as Markdown, drawn from its journal alone: the same journal, the same bytes."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from surefoot.recipe.schema import Recipe
from surefoot.records import End, Eval, Event, Finding, Header, Record, Remedy, Step
from surefoot.show.amounts import count, duration, figure
from surefoot.show.printed import printable
from surefoot.show.summary import metrics

ROUND = (1, 2, 5)
SHOWN_SAMPLES = 6
FRESH = "fresh_optimizer"


class Gathered:
    """What a report is made of, sorted by kind; a step that was done again counts once."""

    def __init__(self, records: Iterable[Record]) -> None:
        self.all = list(records)
        headers = [one.facts for one in self.all if isinstance(one, Header)]
        self.header: Mapping[str, Any] = headers[0] if headers else dict[str, Any]()
        self.steps = {one.step: one for one in self.all if isinstance(one, Step)}
        self.evals = [one for one in self.all if isinstance(one, Eval)]
        self.findings = [one for one in self.all if isinstance(one, Finding)]
        self.remedies = [one for one in self.all if isinstance(one, Remedy)]
        self.events = [one for one in self.all if isinstance(one, Event)]
        self.end = next((one for one in reversed(self.all) if isinstance(one, End)), None)
        self.sums = metrics(self.all)


def report(
    recipe: Recipe, records: Iterable[Record], samples: Sequence[Mapping[str, Any]] = ()
) -> str:
    """Write the whole report."""
    told = Gathered(records)
    parts = [
        f"# {printable(recipe.name)}",
        section("In one paragraph", paragraph(recipe, told)),
        section("Configuration", configuration(recipe, told)),
        section("Progression", progression(told)),
        section("Findings", findings(told)),
        section("Stability", stability(told)),
        section("Throughput and memory", throughput(told)),
        section("Best checkpoints", checkpoints(told)),
        section("Samples", sampled(samples)),
    ]
    return "\n\n".join(parts) + "\n"


def section(title: str, body: str) -> str:
    """Put a heading above a part."""
    return f"## {title}\n\n{body}"


def paragraph(recipe: Recipe, told: Gathered) -> str:
    """Say what ran, how it ended, and what the worst was."""
    sums, end = told.sums, told.end
    reason = f" ({safe(end.reason)})" if end and end.reason else ""
    state = f"{end.state} at step {end.step}{reason}" if end else "has not ended"
    ran = f"`{safe(recipe.name)}` {state}, of {recipe.train.steps} planned steps"
    lines = [f"{ran}: {count(sums['tokens'])} tokens in {duration(sums['hours'] * 3600)}."]
    final = sums["final"]
    if final["ce"] is not None:
        lines.append(
            f"Validation ce {cell(final['ce'])} nats/token, {cell(final['bpb'], 3)} bits/byte"
            f" over {told.evals[-1].val_tokens:,} tokens."
        )
    if sums["best"] is not None:
        lines.append(f"Best: ce {cell(sums['best']['ce'])} at step {sums['best']['step']}.")
    lines.append(begun(told.header))
    lines += [afresh(event) for event in told.events if event.args.get("what") == FRESH]
    worst = [finding for finding in told.findings if finding.severity != "note"]
    lines.append(f"Worst finding: {safe(str(worst[-1]))}" if worst else "No finding above note.")
    taken = [one.args for one in told.events if one.name == "accepted"]
    accepted = ", ".join(dict.fromkeys(f"{a['id']} ({a['value']}, {a['who']})" for a in taken))
    lines.append(f"Accepted by hand: {safe(accepted)}." if accepted else "")
    return " ".join(filter(None, lines))


def begun(facts: Mapping[str, Any]) -> str:
    """Say from which weights it began, where it did."""
    told: Mapping[str, Any] = facts.get("init_from") or {}
    if not told:
        return ""
    counts = ", ".join(f"{told.get(key, 0)} {key}" for key in ("matched", "new", "dropped"))
    return f"Began from {safe(str(told.get('place')))} with fresh optimisers; tensors: {counts}."


def afresh(event: Event) -> str:
    """Say whose optimiser state was dropped, where somebody consented to that."""
    roles = ", ".join(map(str, event.args.get("roles", ())))
    return f"By consent the optimisers of {safe(roles)} began afresh at step {event.step}."


def configuration(recipe: Recipe, told: Gathered) -> str:
    """Tell hardware, data, model and training."""
    facts, train, model = told.header, recipe.train, recipe.model
    corpus: Mapping[str, Any] = facts.get("corpus") or {}
    counts: Mapping[str, int] = facts.get("parameters") or {}
    total = sum(counts.values())
    kinds = ", ".join(f"{letter} = {options.kind}" for letter, options in model.mixers.items())
    optim = ", ".join(
        f"{role}: {o.kind} {getattr(o, 'lr', 0):g}" for role, o in recipe.optim.items()
    )
    each = train.batch * train.accumulate * train.seq_len
    knobs = ", ".join(f"{name}: {options.kind}" for name, options in recipe.knobs.items())
    rows = {
        "program": f"surefoot {facts.get('surefoot', '?')}, torch {facts.get('torch', '?')}, "
        f"python {facts.get('python', '?')}",
        "device": f"{facts.get('device', '?')}, {facts.get('cores', '?')} cores, "
        f"{facts.get('threads', '?')} threads",
        "data": f"{corpus.get('corpus', recipe.data.corpus.kind)}, "
        f"{count(corpus.get('tokens', 0))} tokens, sha {str(facts.get('corpus_sha', '?'))[:12]}",
        "tokenizer": f"{recipe.data.tokenizer.kind}, vocabulary {model.vocab}",
        "model": f"{total:,} parameters, {model.layers} layers × {model.dim}, "
        f"pattern {model.pattern} ({kinds})",
        "head": f"{model.head.kind}; `loss` is what it optimises, `ce` is next-token cross-entropy",
        "optimisers": optim,
        "schedules": knobs,
        "step": f"{train.batch} rows × {train.accumulate} × {train.seq_len} = {each:,} tokens",
        "recipe": f"sha {str(facts.get('recipe_sha', '?'))[:12]}, whole in recipe.toml",
    }
    return table(["what", "value"], [[key, value] for key, value in rows.items()])


def progression(told: Gathered) -> str:
    """Show chosen steps: the first, round ones, those with events, and the last."""
    if not told.steps:
        return "No step was finished."
    noted = notes(told)
    evaluated = {one.step: one.val_ce for one in told.evals}
    chosen = sorted(round_steps(max(told.steps)) | {step for step in noted if step in told.steps})
    rows: list[list[str]] = []
    for number in (step for step in chosen if step in told.steps):
        step = told.steps[number]
        lr = ", ".join(f"{role} {value:.3g}" for role, value in step.lr.items() if role == "matrix")
        rows.append(
            [
                f"{number}",
                cell(step.ce),
                cell(evaluated.get(number)),
                cell(step.loss),
                cell(step.entropy),
                lr,
                cell(step.grad_norm, 3),
                noted.get(number, ""),
            ]
        )
    head = ["step", "ce", "val ce", "loss", "entropy", "lr used", "grad norm", "note"]
    return table(head, rows)


def round_steps(last: int) -> set[int]:
    """Choose the first step, round ones, and the last."""
    size, found = 1, {1, last}
    while size <= last:
        found |= {factor * size for factor in ROUND if factor * size <= last}
        size *= 10
    return found


def notes(told: Gathered) -> dict[int, str]:
    """Say what happened at which step; saves are no news."""
    found: dict[int, list[str]] = {}
    for event in told.events:
        if event.name not in ("saved", "already_saved"):
            found.setdefault(event.step, []).append(event.name)
    for remedy in told.remedies:
        found.setdefault(remedy.at_step, []).append(f"remedy {remedy.name}")
    for finding in told.findings:
        if finding.severity in ("act", "warn") and finding.step:
            found.setdefault(finding.step, []).append(finding.id)
    return {step: ", ".join(dict.fromkeys(names)) for step, names in found.items()}


def findings(told: Gathered) -> str:
    """List what rules and monitors found."""
    if not told.findings:
        return "None."
    rows = [
        [f"{one.step or 'before'}", one.severity, one.id, f"{one}", one.source]
        for one in told.findings
    ]
    return table(["step", "severity", "id", "what", "source"], rows)


def stability(told: Gathered) -> str:
    """Count what went wrong; a count of 0 is one that was kept."""
    counts = told.sums["counts"]
    names = Counter(event.name for event in told.events)
    rows: list[tuple[str, int]] = [
        ("steps with a non-finite loss or gradient (update left out)", counts["nan"]),
        ("steps left out", counts["skipped"]),
        ("out of memory, batch split", counts["oom"]),
        ("resumed", counts["resumed"]),
        ("saves that failed", names["save_failed"]),
        ("fallbacks to an older checkpoint", names["fallback"]),
        ("remedies", counts["remedies"]),
    ]
    return table(["what", "count"], [[name, f"{number}"] for name, number in rows])


def throughput(told: Gathered) -> str:
    """Tell speed and memory, each in its unit, and the forecast beside them."""
    sums = told.sums
    speeds, peak, forecast = sums["tok_per_s"], sums["peak"], sums["forecast"]
    rows = [[f"tok_per_s, {name}", cell(value, 0)] for name, value in speeds.items()]
    rows += [[f"peak {name}", f"{value:g}"] for name, value in peak.items()]
    rows += [[name, f"{value:g}"] for name, value in forecast.items() if value is not None]
    return table(["what", "value"], rows)


def checkpoints(told: Gathered) -> str:
    """Name the checkpoints that were made, and the best by ce."""
    saved = [event for event in told.events if event.name == "saved"]
    if not saved:
        return "None was saved."
    ce = {one.step: one.val_ce for one in told.evals}
    best: Mapping[str, Any] = told.sums["best"] or {}
    rows = [
        [
            f"{event.step}",
            cell(ce.get(event.step)),
            f"{event.args.get('bytes', 0) / 2**20:.1f} MiB",
            "best" if event.step == best.get("step") else "",
        ]
        for event in saved
    ]
    return table(["step", "val ce", "size", ""], rows) + "\n\nOld ones may have been rotated out."


def sampled(samples: Sequence[Mapping[str, Any]]) -> str:
    """Show the newest texts; indented, so that nothing in them is markup."""
    if not samples:
        return "None were written."
    last = max(int(one.get("step", 0)) for one in samples)
    newest = [one for one in samples if one.get("step") == last][:SHOWN_SAMPLES]
    blocks: list[str] = []
    for one in newest:
        text = f"{one.get('prompt', '')}{one.get('text', '')}"
        rows = [printable(row, keep="\t").expandtabs(4) for row in text.splitlines()]
        how = f"temperature {one['temperature']:g}" if one.get("temperature") else "greedy"
        body = "\n".join(f"    {row}".rstrip() for row in rows)
        blocks.append(f"Step {last}, {how}:\n\n{body}")
    return "\n\n".join(blocks)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a Markdown table."""
    lines = [" | ".join(head), " | ".join("---" for _ in head)]
    lines += [" | ".join(safe(one) for one in row) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def cell(value: Any, digits: int = 4) -> str:
    """Write a number; absent is "-", never 0; "nan" came as text out of a summary."""
    return value if isinstance(value, str) else figure(value, digits)


def safe(text: str) -> str:
    """Keep a text from being markup."""
    escaped = printable(text).replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")
    return escaped.replace("`", "'")
