"""Which checkpoints a rewind may go back to."""

from collections.abc import Sequence

from surefoot.guard.case import Case, Kept
from surefoot.records import Remedy

SEASONED = 128  # further steps that a checkpoint must have been followed by
NEAR = 16  # an act whose first suspicious step is this close may have begun before it
AGAIN = 500  # the same finding so soon after a rewind condemns its target


def trusted(case: Case) -> list[Kept]:
    """Give the checkpoints that may be gone back to, newest first."""
    return [kept for kept in case.kept if sound(case, kept)]


def sound(case: Case, kept: Kept) -> bool:
    """Say whether a checkpoint was quiet, has seasoned, and did not fail before."""
    if not kept.quiet or kept.step == 0 or case.step - kept.step < seasoning(case):
        return False
    mine = [act for act in case.acts if act.generation == case.generation]
    begun = [act.since if act.since is not None else act.step for act in mine]
    return min(begun, default=case.step) > kept.step + NEAR and not condemned(case, kept)


def seasoning(case: Case) -> int:
    """Give the steps that must have followed; short runs can't wait for 128."""
    return min(SEASONED, max(1, case.recipe.train.steps // 20))


def condemned(case: Case, kept: Kept) -> bool:
    """Say whether a rewind to it was followed by the same finding soon after."""
    for remedy in case.remedies:
        if remedy.name != "rewind" or remedy.args["to_step"] != kept.step:
            continue
        after = [
            act
            for act in case.acts
            if act.id == remedy.answers and act.generation >= int(remedy.args["generation"])
        ]
        if any(act.step - kept.step <= AGAIN for act in after):
            return True
    return False


def retrained(remedies: Sequence[Remedy]) -> int:
    """Count the steps that rewinds made the run do again."""
    return sum(
        remedy.step - int(remedy.args["to_step"]) for remedy in remedies if remedy.name == "rewind"
    )
