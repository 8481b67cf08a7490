"""A run that trains so many steps at a time, and stays open between them: what benches time."""

from collections.abc import Iterator
from dataclasses import dataclass, fields

from surefoot.run.run import Outcome, Run


@dataclass(slots=True)
class Blocks(Run):
    """A run that comes back after so many steps, to be gone on with."""

    left: int = 0

    @classmethod
    def of(cls, run: Run) -> "Blocks":
        """Take over an open run."""
        return cls(**{f.name: getattr(run, f.name) for f in fields(run)})

    def remaining(self) -> Iterator[int]:
        """Give the steps of one block."""
        last = self.progress.step + self.left
        for step in Run.remaining(self):
            yield step
            if self.progress.step >= last:
                return

    def finished(self) -> Outcome:
        """Leave the run open."""
        return Outcome("stopped", 75, "", self.progress.step, self.folder)

    def end(self) -> None:
        """Close it for good."""
        self.ended("stopped", 75, "measured")
        self.close()
