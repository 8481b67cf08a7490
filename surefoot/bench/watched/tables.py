"""Writes the bench's tables in Markdown."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from surefoot.bench.watched import scoring
from surefoot.bench.watched.acting import Acted
from surefoot.bench.watched.healthy import KINDS
from surefoot.bench.watched.scoring import Told


def page(told: Sequence[Told], others: Mapping[str, Sequence[Told]], acted: Sequence[Acted]) -> str:
    """Give all tables: of the whole, of each kind, of others' rules, of what act mode reached."""
    parts = [whole(told, others), sick(told), healthy(told)]
    if acted:
        parts.append(recovered(acted))
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def table(head: Sequence[str], lines: Sequence[Sequence[Any]]) -> list[str]:
    """Write a table."""
    return [
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
        *(f"| {' | '.join(shown(cell) for cell in line)} |" for line in lines),
    ]


def shown(value: Any) -> str:
    """Write one cell."""
    if value is None:
        return "-"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def whole(told: Sequence[Told], others: Mapping[str, Sequence[Told]]) -> list[str]:
    """Compare the guard on both halves, and what others do on the held-out one."""
    rows: list[list[Any]] = []
    for name, some in {
        "surefoot, held out": [t for t in told if t.half == "held_out"],
        "surefoot, training half": [t for t in told if t.half == "training"],
        **{name: [t for t in theirs if t.half == "held_out"] for name, theirs in others.items()},
    }.items():
        if not some:
            continue
        own = scoring.summed(some)
        rows.append([
            name, f"{own['found']} of {own['sick']}",
            f"{own['rate_low']:.2f} to {own['rate_high']:.2f}", own["latency_median_steps"],
            own["acts"], own["healthy_steps"], own["acts_bound"], own["warns_per_10k"],
        ])  # fmt: skip
    head = ["guard", "sick runs found", "95% interval", "steps, median of sudden faults",
            "false acts", "healthy steps", "acts in 10k, bound", "warns in 10k"]  # fmt: skip
    return table(head, rows)


def sick(told: Sequence[Told]) -> list[str]:
    """List the faults of the held-out half."""
    rows: list[list[Any]] = []
    for kind, some in scoring.by_kind([t for t in told if t.half == "held_out"]).items():
        if kind in KINDS:
            continue
        harmless = sum(t.harmless for t in some)
        some = [t for t in some if not t.harmless]
        late = [t.latency_steps for t in some if t.latency_steps is not None]
        acts = [t.act_latency_steps for t in some if t.act_latency_steps is not None]
        wrong = sorted({t.wrong for t in some if t.wrong})
        rows.append([
            kind, f"{sum(t.found for t in some)} of {len(some)}", median(late) if late else None,
            max(late, default=None), median(acts) if acts else None, ", ".join(wrong) or None,
            harmless or None,
        ])  # fmt: skip
    return table(
        [
            "fault",
            "found",
            "steps, median",
            "most",
            "to an act",
            "something else named first",
            "did no harm",
        ],
        rows,
    )


def healthy(told: Sequence[Told]) -> list[str]:
    """List the healthy kinds of the held-out half."""
    rows: list[list[Any]] = []
    for kind, some in scoring.by_kind([t for t in told if t.half == "held_out"]).items():
        if kind not in KINDS:
            continue
        said = sorted({word.split("@")[0] for t in some for word in (*t.acts, *t.warns)})
        rows.append([
            kind, KINDS[kind].about, sum(t.healthy_steps for t in some),
            sum(len(t.acts) for t in some), sum(len(t.warns) for t in some),
            ", ".join(said) or None,
        ])  # fmt: skip
    return table(["healthy run", "what happens in it", "steps", "acts", "warns", "ids"], rows)


def recovered(acted: Sequence[Acted]) -> list[str]:
    """List what act mode made of the curable faults."""
    rows: list[list[Any]] = []
    for kind in sorted({one.kind for one in acted}):
        some = [one for one in acted if one.kind == kind]
        ratios = [one.ce / one.twin_ce for one in some if one.ce < 1e8]
        rows.append([
            kind, f"{sum(one.recovered for one in some)} of {len(some)}",
            median(ratios) if ratios else None, max(ratios, default=None),
            median([one.retrained for one in some]),
            ", ".join(sorted({r.split("@")[0] for one in some for r in one.remedies})) or None,
        ])  # fmt: skip
    head = ["fault", "recovered", "ce over twin's, median", "worst", "steps trained again",
            "answers"]  # fmt: skip
    return table(head, rows)
