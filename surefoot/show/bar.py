"""The one line that is redrawn: how far, how good, how fast, how long still."""

import time
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

AGAIN_S = 0.25  # drawn at most so often: drawing takes a millisecond of the training's time
STYLES = {"note": "cyan", "warn": "yellow", "act": "red", "refused": "red"}


class Bar:
    """Draws on a terminal; lines that stay are printed above it."""

    def __init__(self, stream: TextIO, width: int) -> None:
        self.console = Console(file=stream, width=width, highlight=False, soft_wrap=True)
        self.progress = Progress(
            TextColumn("{task.fields[front]:>7}"),
            BarColumn(bar_width=max(12, width // 4)),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[said]}", markup=False),
            console=self.console,
            auto_refresh=False,  # no thread beside the training
            transient=True,
        )
        self.task = None
        self.drawn = 0.0

    def draw(self, front: str, share: float, said: str) -> None:
        """Show how far it is."""
        now = time.monotonic()
        if now - self.drawn < AGAIN_S:
            return
        self.drawn = now
        if self.task is None:
            self.progress.start()
            self.console.show_cursor(True)  # whatever ends this process, the cursor is there
            self.task = self.progress.add_task("", total=1.0, front=front, said=said)
        self.progress.update(self.task, completed=share, front=front, said=said)
        self.progress.refresh()

    def print(self, line: str) -> None:
        """Print a line that stays."""
        words = line.split(maxsplit=1)
        style = STYLES.get(words[0], "") if words else ""
        self.console.print(Text(line, style=style), soft_wrap=True)

    def clear(self) -> None:
        """Take the redrawn line away."""
        if self.task is not None:
            self.progress.stop()
            self.progress.remove_task(self.task)
            self.task = None
