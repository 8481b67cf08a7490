"""Signals: the first asks the loop to stop after its step, the second leaves at once."""

import os
import signal
import threading
from types import FrameType

# A scheduler restarts what left with 75; 130 was a person.
POLITE = {signal.SIGINT: 130, signal.SIGTERM: 75, signal.SIGUSR1: 75, signal.SIGHUP: 75}


class Signals:
    """Remembers the first signal; while it is a context, the process's handlers are ours."""

    def __init__(self, grace_s: float) -> None:
        self.grace_s = grace_s
        self.caught: signal.Signals | None = None
        self.before: dict[int, object] = {}

    def __enter__(self) -> "Signals":
        if threading.current_thread() is threading.main_thread():
            for number in POLITE:
                self.before[number] = signal.signal(number, self.handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)  # pyright: ignore[reportArgumentType]

    def handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Take the first signal down; at the second, or when the grace is over, leave."""
        if self.caught is not None:
            os._exit(self.hurried(number))
        self.caught = signal.Signals(number)
        timer = threading.Timer(self.grace_s, lambda: os._exit(128 + number))
        timer.daemon = True
        timer.start()

    def hurried(self, number: int) -> int:
        """Give the exit code of a second signal."""
        return 130 if number == signal.SIGINT else 128 + number

    @property
    def exit(self) -> int:
        """Give the exit code of a run that was stopped and saved."""
        assert self.caught is not None, "no signal was caught"
        return POLITE[self.caught]
