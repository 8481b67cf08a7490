"""Signals: the first asks the loop to stop after its step, the second leaves at once."""

import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

# A scheduler restarts what left with 75; 130 was a person.
POLITE = {signal.SIGINT: 130, signal.SIGTERM: 75, signal.SIGUSR1: 75, signal.SIGHUP: 75}


class Signals:
    """Remembers the first signal; while it is a context, the process's handlers are ours."""

    def __init__(
        self, grace_s: float, newest: Callable[[], str] = str, quiet: bool = False
    ) -> None:
        self.grace_s, self.newest = grace_s, newest  # the name of the newest checkpoint, or ""
        self.quiet = quiet  # of several ranks the first one speaks
        self.caught: signal.Signals | None = None
        self.timer: threading.Timer | None = None
        self.before: dict[int, object] = {}

    def __enter__(self) -> "Signals":
        if threading.current_thread() is threading.main_thread():
            # what is ignored stays ignored: that is what nohup asks for
            for number in (one for one in POLITE if signal.getsignal(one) != signal.SIG_IGN):
                self.before[number] = signal.signal(number, self.handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)  # pyright: ignore[reportArgumentType]
        if self.timer is not None:
            self.timer.cancel()  # it is saved; who called us may go on

    def handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Take the first signal down; at the second, or when the grace is over, leave."""
        if self.caught is not None:
            self.leave("", self.hurried(number))
        self.caught = signal.Signals(number)
        kept = self.newest()
        last = f"the last save is {kept}" if kept else "nothing is saved yet"
        if not self.quiet:
            said(f"stopping after this step (again: leave now, {last})")
        over = f"the {self.grace_s:g} s of save.grace_s are over: "
        self.timer = threading.Timer(self.grace_s, self.leave, (over, 128 + number))
        self.timer.daemon = True
        self.timer.start()

    def leave(self, why: str, code: int) -> None:
        """End this process at once; what is committed stands."""
        kept = self.newest()
        last = f"last checkpoint {kept}" if kept else "nothing was saved"
        if not self.quiet:
            said(f"{why}ended at once; {last}")
        os._exit(code)

    def hurried(self, number: int) -> int:
        """Give the exit code of a second signal."""
        return 130 if number == signal.SIGINT else 128 + number

    @property
    def exit(self) -> int:
        """Give the exit code of a run that was stopped and saved."""
        assert self.caught is not None, "no signal was caught"
        return POLITE[self.caught]


def said(text: str) -> None:
    """Tell a person one thing from within a signal's handler, where `print` may be at work."""
    with suppress(OSError):  # the terminal may be what went away
        os.write(2, f"\n{text}\n".encode())
