"""Rules about going on: where a run stood before, whether its rate jumped, whether it came back."""

from collections.abc import Iterator, Sequence

from surefoot.guard.series import Asked, Before, Resume, Series, finding, follows, lr_of
from surefoot.records import Finding

JUMP, STEEP, FALL = 1.5, 1.1, 0.1  # of the rate, against the last that these weights were given
GRACE = 200  # steps after a resume
BACK = 0.1  # a loss is back within a tenth of what it was


def connect(series: Series, others: Sequence[Series], asked: Asked) -> None:
    """Find out where a run that begins late went on from."""
    earlier = [other for other in others if other is not series and follows(series, other)]
    first = next(iter(series.losses), None)
    if first is None or not series.begins_late:
        return
    if earlier:
        newest = max(earlier, key=lambda other: (other.name, other.last_step))
        series.resumes.insert(0, Resume(first, newest.stands()))
    elif asked.resumed_from is not None:
        series.resumes.insert(0, Resume(first, asked.resumed_from))


def judge(series: Series) -> Iterator[Finding]:
    """Judge each place where it went on."""
    first = next(iter(series.losses), None)
    if first is not None and series.begins_late and not any(r.row is first for r in series.resumes):
        told = (
            "first row",
            f"step {first.step}",
            "it went on from something that isn't here, so its learning rate can't be compared",
            "Write --resumed-from with the log before, or --resumed-from lr=X,loss=Y",
        )
        yield finding("note", "resume_unknown", first, told)
    for resume in series.resumes:
        if (jump := lr_jump(resume)) is not None:
            yield jump
        yield from not_recovered(series, resume)


def lr_jump(resume: Resume) -> Finding | None:
    """See a rate that is not the one that the weights were last given."""
    now, before = lr_of(resume.row), resume.before
    if now is None or not before.lr:
        return None
    ratio = now / before.lr
    if FALL <= ratio <= STEEP:
        return None
    told = (
        "lr",
        f"{before.lr:.4g} → {now:.4g} (×{ratio:.3g})",
        f"at step {resume.row.step}, against the last rate of {before.origin or 'the run before'}: "
        + ("what the decay had gained is given up" if ratio > 1 else "learning nearly stops"),
        "Branch from before the decay, ramp over 200 steps, or take a lower peak: --resume-lr "
        "branch, ramp or peak=X",
    )
    severity = "act" if ratio > JUMP else "warn"
    return finding(severity, "lr_jump", resume.row, told, before=before.lr, after=now, ratio=ratio)


def not_recovered(series: Series, resume: Resume) -> Iterator[Finding]:
    """See a loss that is not back after the grace, and say when it was."""
    before, first = resume.before, resume.row
    if not before.loss:
        return
    least = before.loss * (1 + BACK)
    begun = before.step if before.step is not None else first.step
    begun = first.step if first.step - begun > GRACE else begun
    after = [row for row in series.losses if row.step >= first.step]
    late = [row for row in after if row.step >= begun + GRACE]
    opened = next(iter(late), None)
    if opened is None or opened.values["loss"] <= least:
        return
    closed = next((row for row in late if row.values["loss"] <= least), None)
    gap = opened.values["loss"] - before.loss
    value = f"{opened.values['loss']:.4f} against {before.loss:.4f} before (+{gap:.2f})"
    if closed is not None:
        over = closed.values["loss"] / before.loss - 1
        where = f"step {closed.step} ({closed.values['loss']:.4f}, {over:+.1%})"
        why = f"back within {BACK:.0%} at {where}"
    else:
        lowest = min(row.values["loss"] for row in late)
        why = f"never back within {BACK:.0%}: {lowest:.4f} is the lowest since"
    why += stable_too(before)
    told = ("loss", value, why, "Go on from the checkpoint before the decay instead")
    evidence = {"before": before.loss, "gap": gap, "stable": before.stable}
    if closed is not None:
        evidence["closed"] = closed.step
    yield finding("warn" if closed else "act", "not_recovered", opened, told, **evidence)


def stable_too(before: Before) -> str:
    """Name the level before the decay: the fair one, since the rate came back."""
    if before.stable is None:
        return ""
    return f"; at the peak rate {before.origin} stood at {before.stable:.2f}"
