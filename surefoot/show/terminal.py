"""Shows a run on the terminal as it goes: a bar where one can be drawn, plain lines elsewhere."""

import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from surefoot.recipe.schema import Recipe
from surefoot.records import End, Eval, Finding, Header, Record, Step
from surefoot.show.amounts import clock, count, figure
from surefoot.show.lines import Lines, fitted
from surefoot.show.plan_lines import Cost, Told, check_lines, plan_lines
from surefoot.show.printed import in_ascii

if TYPE_CHECKING:
    from surefoot.show.bar import Bar

NARROWEST, WIDEST = 60, 120
SILENCE_S = 2.0  # nothing is quiet for longer while a corpus is prepared
LOUD = ("warn", "act", "refuse")


def drawable(stream: TextIO) -> bool:
    """Say whether a line can be redrawn and coloured there."""
    asked_not = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
    return stream.isatty() and not asked_not


def width_of(plain: bool) -> int:
    """Give the columns to write in."""
    told = shutil.get_terminal_size((WIDEST if plain else 80, 24)).columns
    return min(WIDEST, max(NARROWEST, told))


class Terminal:
    """Listens to a run's journal and tells a person what matters."""

    def __init__(
        self, plain: bool = False, quiet: bool = False, stream: TextIO | None = None
    ) -> None:
        self.stream = stream or sys.stderr
        self.quiet = quiet
        self.width = width_of(plain)
        self.utf8 = "utf" in (getattr(self.stream, "encoding", None) or "utf-8").lower()
        self.bar = None if plain or quiet or not drawable(self.stream) else bar(self)
        self.followed = Lines(0, 10)
        self.place = ""
        self.planned = False
        self.rules = 0  # how many there are, told by who has judged
        self.shown: set[tuple[str, str]] = set()
        self.samples: Callable[[], Sequence[Mapping[str, Any]]] | None = None
        self.preparing_what, self.preparing_at = "", 0.0

    def print(self, line: str) -> None:
        """Print one line, in as many as it needs."""
        for part in fitted(line, self.width):
            text = part if self.utf8 else in_ascii(part)
            if self.bar is not None:
                self.shown_by(partial(self.bar.print, text))
            else:
                self.shown_by(partial(print, text, file=self.stream, flush=True))

    def shown_by(self, act: Callable[[], None]) -> None:
        """Show something; nothing more once the terminal went away: train.log keeps all of it."""
        try:
            act()
        except OSError:
            self.leave()

    def leave(self) -> None:
        """Let whatever is still shown, or was and is not flushed, go nowhere."""
        self.bar = None
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.stream.fileno())  # what is still to be flushed goes there too
        os.close(nowhere)

    def said(self, text: str) -> None:
        """Tell a person one thing."""
        if not self.quiet:
            self.print(text)

    def preparing(self, what: str, done: int, total: int) -> None:
        """Show how far the preparation of the data is."""
        if self.quiet:
            return
        if self.bar is not None:
            self.shown_by(partial(self.bar.draw, "", done / max(1, total), what))
            return
        now = time.monotonic()
        if what != self.preparing_what or now - self.preparing_at >= SILENCE_S:
            self.preparing_what, self.preparing_at = what, now
            self.print(f"{what} · {done / max(1, total):.0%}")

    def plan(
        self, recipe: Recipe, where: str, dataset: Told, cost: Cost, findings: Sequence[Finding]
    ) -> None:
        """Say what will run, what it will cost, and what the rules found."""
        if self.bar is not None:
            self.shown_by(self.bar.clear)
        lines = check_lines(findings, self.rules)
        loud = any(finding.severity in LOUD for finding in findings)
        if not self.quiet:
            lines = [*plan_lines(recipe, where, dataset, cost), *lines]
        if loud or not self.quiet:
            for line in lines:
                self.print(line)
        self.planned = True
        self.shown |= {(finding.id, finding.what) for finding in findings}
        self.begin(recipe)

    def begin(self, recipe: Recipe) -> None:
        """Follow a run of this recipe from now on."""
        self.followed = Lines(recipe.train.steps, recipe.logs.every, self.place)
        self.followed.shown = self.shown

    def folder(self, path: Path) -> None:
        """Say where the run lies."""
        self.place = self.followed.folder = str(path)
        self.said(f"run      {path}")

    def __call__(self, record: Record) -> None:
        """Take in one record of the journal."""
        samples = self.samples() if self.samples and isinstance(record, Eval) else ()
        lines = self.followed.lines(record, samples)
        if isinstance(record, End) and self.bar is not None:
            self.shown_by(self.bar.clear)
        if isinstance(record, Header) and self.planned:
            return  # all of it has just been said
        loud = isinstance(record, End) or (isinstance(record, Finding) and record.severity in LOUD)
        if loud or not self.quiet:
            for line in lines:
                self.print(line)
        if self.bar is not None and isinstance(record, Step):
            self.draw(record)

    def draw(self, step: Step) -> None:
        """Redraw the bar."""
        assert self.bar is not None, "there is a bar only on a terminal"
        followed = self.followed
        parts = [f"ce {figure(step.ce, 3)}"]
        if followed.evaluated is not None:
            parts.append(f"val {figure(followed.evaluated.val_ce, 3)}")
        if "matrix" in step.lr and self.width > 90:
            parts.append(f"lr {step.lr['matrix']:.3g}")
        if (speed := followed.pace.tok_per_s) is not None:
            parts.append(f"{count(speed)} tok/s")
        mem = step.gpu_mem_alloc_mib if step.gpu_mem_alloc_mib is not None else step.rss_mib
        if mem is not None and self.width > 100:
            parts.append(f"{mem / 1024:.2f} GiB")
        if (left := followed.pace.left_s(step.step)) is not None:
            parts.append(f"{clock(left)} left")
        said = " · ".join(parts)
        said = said if self.utf8 else in_ascii(said)
        share = step.step / max(1, followed.steps)
        self.shown_by(partial(self.bar.draw, str(step.step), share, said))


def bar(terminal: Terminal) -> "Bar":
    """Make the line that is redrawn; rich takes 50 ms to load, and only a terminal needs it."""
    from surefoot.show.bar import Bar

    return Bar(terminal.stream, terminal.width)
