"""Answers a finding with remedies that are written down: seed 000's fixes in their order."""

from collections.abc import Callable, Sequence
from typing import Any

from surefoot import kinds
from surefoot.guard import trust
from surefoot.guard.case import Case, Kept
from surefoot.records import Finding, Remedy

Column = Callable[[Finding, Case], list[Remedy]]
AGAIN = 500  # the same finding so soon after its remedy gets the next column
SAFE_MATRIX_LR = 0.025
EMBEDDING_CEILING = 0.25
WINDOW_CEILING = 2048


def answer(finding: Finding, case: Case) -> list[Remedy]:
    """Give the remedies of an act-level finding; none where there is nothing to do."""
    columns = ANSWERS.get(finding.id)
    if finding.severity != "act" or not columns:
        return []
    if finding.evidence.get("stop"):  # the monitor has seen enough: no remedy can help
        return make("stop", finding, case)
    if case.mode != "act" and columns is not STOP:
        return []
    if finding.id in TUNED and not tuning_allowed(finding, case):
        return []
    if columns is not STOP and (spent := budget_spent(case)):
        return make("stop", finding, case, reason=f"{finding.id}: {spent}")
    tried = attempts(finding, case)
    for column in columns[min(tried, len(columns)) :]:
        if found := column(finding, case):
            return found
    return make("stop", finding, case, reason=f"{finding.id}: every remedy was tried. {finding}")


def advice(finding: Finding, case: Case) -> list[Remedy]:
    """Give what `answer` would do in act mode, to be told and not done."""
    columns = ANSWERS.get(finding.id) or []
    for column in columns[min(attempts(finding, case), len(columns)) :]:
        if found := column(finding, case):
            return found
    return []


def attempts(finding: Finding, case: Case) -> int:
    """Count the remedies of this finding that came to nothing: it is back within 500 steps."""
    moments: dict[tuple[int, int], int] = {}  # one answer may be several remedies
    for remedy in case.remedies:
        if remedy.answers == finding.id:
            moments[remedy.generation, remedy.step] = remedy.at_step
    count = 0
    for at_step in moments.values():
        count = count + 1 if finding.step - at_step <= AGAIN else 0
    return count


def budget_spent(case: Case) -> str:
    """Say why no more remedies are given, or nothing."""
    budget = case.recipe.guard.budget
    moments = {(r.generation, r.step, r.answers): r.step for r in case.remedies}
    lately = [step for step in moments.values() if 0 <= case.step - step < budget.window]
    if len(lately) >= budget.in_window:
        return f"{len(lately)} remedies in {budget.window} steps"
    if len(moments) >= budget.in_run:
        return f"{len(moments)} remedies in this run"
    again = trust.retrained(case.remedies)
    if again > budget.retrained_share * case.recipe.train.steps:
        return f"{again} steps were trained again"
    return ""


def tuning_allowed(finding: Finding, case: Case) -> bool:
    """Nudge a rate only if the finding came twice, or nothing could be gone back to."""
    same = [act for act in case.acts if act.id == finding.id and act.generation == case.generation]
    return len(same) >= 2 or not trust.trusted(case)


def make(name: str, finding: Finding, case: Case, **args: Any) -> list[Remedy]:
    """Make the remedies of one file of guard/remedies."""
    return kinds.find("remedies", name).answer(finding, case, **args)


def back(case: Case, earlier: int = 0) -> Kept | None:
    """Give the checkpoint to go back to; the start, where that costs less than a tenth."""
    found = trust.trusted(case)
    if len(found) > earlier:
        return found[earlier]
    if found:
        return found[-1]
    if case.step < 0.1 * case.recipe.train.steps:
        return Kept(0, 0, quiet=True)
    return None


def rewind(factor: float = 1.0, earlier: int = 0, skip: bool = True) -> Column:
    """Go back, leave the data out that was read when it began, and go on at a lower rate."""

    def column(finding: Finding, case: Case) -> list[Remedy]:
        target = back(case, earlier)
        if target is None:
            return []
        found: list[Remedy] = []
        if factor != 1.0:
            found += make("lr_scale", finding, case, factor=factor, at_step=target.step + 1)
        if skip:
            found += make("skip", finding, case, at_step=target.step + 1)
        return [*found, *make("rewind", finding, case, target=target)]

    return column


def scale(factor: float, role: str = "", least: float = 0.0) -> Column:
    """Lower a rate, but not below what is known to be safe."""

    def column(finding: Finding, case: Case) -> list[Remedy]:
        if role and case.lr.get(role, 0.0) * factor < least * (1 - 1e-9):
            return []
        return make("lr_scale", finding, case, factor=factor, role=role)

    return column


def longer_momentum(finding: Finding, case: Case) -> list[Remedy]:
    """Warm the momentum up over 100 more steps."""
    steps = getattr(case.knobs.get("momentum"), "steps", None)
    return make("knob", finding, case, knob="momentum", steps=steps + 100) if steps else []


def long_layers_up(finding: Finding, case: Case) -> list[Remedy]:
    """Give the top layers long windows."""
    placed = getattr(case.knobs.get("window"), "long_layers", None)
    if placed is None or str(placed).startswith("top"):
        return []
    count = max(2, case.recipe.model.layers // 4)
    return make("knob", finding, case, knob="window", long_layers=f"top:{count}")


def wider_window(finding: Finding, case: Case) -> list[Remedy]:
    """Let windows grow to 2048."""
    end = getattr(case.knobs.get("window"), "end", WINDOW_CEILING)
    if end >= WINDOW_CEILING or case.recipe.train.seq_len < WINDOW_CEILING:
        return []
    return make("knob", finding, case, knob="window", end=WINDOW_CEILING)


def stop(finding: Finding, case: Case) -> list[Remedy]:
    """Stop: a rewind can't cure a bug."""
    return make("stop", finding, case)


def save(finding: Finding, case: Case) -> list[Remedy]:
    """Save and leave, to be started again."""
    return make("save", finding, case)


def skip_data(finding: Finding, case: Case) -> list[Remedy]:
    """Leave out the data around the bad steps."""
    return make("skip", finding, case)


STOP: Sequence[Column] = (stop,)
BACK: Sequence[Column] = (rewind(), rewind(0.7), rewind(0.5, earlier=1))
TUNED = frozenset({"early_oscillation", "logit_saturation"})

# What each act-level finding is answered with: first, second, third time.
ANSWERS: dict[str, Sequence[Column]] = {
    "early_oscillation": (
        scale(27 / 28, "matrix", SAFE_MATRIX_LR),
        longer_momentum,
        rewind(25 / 28, skip=False),
    ),
    "logit_saturation": (scale(384 / 416, "head"), scale(0.8, "head"), rewind()),
    "dead_layer": (long_layers_up, wider_window),
    "loss_gap": BACK,
    "loss_drift": BACK,
    "not_recovered": BACK,
    "early_stuck": (rewind(0.5, skip=False), rewind(0.25, skip=False)),
    "nonfinite": (skip_data, rewind(), rewind(0.5)),
    "gnorm_escalation": (scale(0.7), rewind(0.5), stop),
    "frozen_group": STOP,
    "lr_unplanned": STOP,
    "lr_after_raise": STOP,
    "reads_mismatch": STOP,
    "floor_leak": STOP,
    "rank_mismatch": STOP,
    "causality": STOP,
    "data_stuck": STOP,
    "memory_creep": (save,),
}
