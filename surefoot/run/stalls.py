"""Says when saves hold the training up, and how rarely they would have to be made not to."""

from bisect import bisect_left

from surefoot.records import Finding

SAVES = 20  # over which the time is added up
MOST = 0.05  # share of the time that saves may take from the training
NEVER = 1 << 40  # steps between two saves


class Stalls:
    """Adds up what saves take from the loop; tells once a process that it is too much."""

    def __init__(self, every: int) -> None:
        self.every = every
        self.told = False
        self.last = 0  # step of the last save
        self.restart(0, 0.0)

    def restart(self, step: int, now: float) -> None:
        """Begin to count anew, after a save."""
        self.step, self.since, self.saves, self.stall_s = step, now, 0, 0.0

    def add(
        self, step: int, now: float, stall_s: float, lost_s: float, beside_s: float
    ) -> Finding | None:
        """Take in a save that took `stall_s`: `lost_s` by itself, the rest of it by being early.

        The thread beside the training needs `beside_s` for one, 0 where there is none.
        """
        before, self.last = self.last, step
        if step <= before or not before:  # a rewind, or the first
            self.restart(step, now)
            return None
        self.saves, self.stall_s = self.saves + 1, self.stall_s + stall_s
        if self.saves < SAVES:
            return None
        spent = now - self.since
        step_s, share = (spent - self.stall_s) / (step - self.step), self.stall_s / spent
        self.restart(step, now)
        if share <= MOST or self.told:
            return None
        self.told = True
        return self.finding(step, share, fitting(step_s, lost_s, beside_s), lost_s + beside_s)

    def finding(self, step: int, share: float, fits: int, save_s: float) -> Finding:
        """Say it, with the number that fits."""
        # a better validation is saved too, however rare the other saves are
        more = f"Write save.every={fits}" if fits > self.every else f"Write val.every={fits}"
        return Finding(
            id="save_slow",
            severity="note",
            what="save.every",
            value=str(self.every),
            why=f"saves took {share:.0%} of the time of the last {SAVES}; one takes {save_s:.2f} s",
            instead=more,
            step=step,
            evidence={"share": round(share, 4), "save_s": round(save_s, 4), "fits": fits},
            source="shelf",
        )


def fitting(step_s: float, lost_s: float, beside_s: float) -> int:
    """Give the fewest steps between two saves at which they take no more than they may."""

    def fits(every: int) -> bool:
        stall = lost_s + max(0.0, beside_s - every * step_s)
        return stall <= MOST * (every * step_s + stall)

    return bisect_left(range(NEVER), True, lo=1, key=fits)


def cramped(needed_gib: float, free_gib: float, step: int) -> Finding:
    """Say that there is no room for a copy of the state, and what follows."""
    return Finding(
        id="save_slow",
        severity="note",
        what="free memory",
        value=f"{free_gib:.2f} GiB",
        why=f"a save beside the training needs {needed_gib:.2f} GiB for its copy of the state, so "
        "the training waits for each save",
        instead="Free memory, or write save.background=false",
        step=step,
        evidence={"free_gib": round(free_gib, 3), "needed_gib": round(needed_gib, 3)},
        source="shelf",
    )
