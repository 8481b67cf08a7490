"""Draws batches ahead on one thread, so that a step never waits for its data."""

import threading
from collections.abc import Callable

from surefoot.model.batch import Batch


class Ahead:
    """The next few batches: `get(step)` gives one, and the thread draws those that follow."""

    def __init__(self, draw: Callable[[int], Batch], depth: int = 2) -> None:
        self.draw, self.depth = draw, depth
        self.ready: dict[int, Batch | BaseException] = {}
        self.next = 0  # the step to draw next; 0 = nobody has asked yet
        self.drawing = 0  # the step that is being drawn now
        self.wanted = 0  # the step that was asked for last
        self.turn = 0  # counts the times that all drawn batches were thrown away
        self.closed = False
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self.work, name="surefoot-data", daemon=True)
        self.thread.start()

    def get(self, step: int) -> Batch:
        """Give a step's batch; what went wrong in drawing it goes wrong here."""
        with self.changed:
            assert not self.closed, "the reader ahead is closed"
            if step not in self.ready and step not in (self.next, self.drawing):
                self.forget(step)
            self.wanted = step
            self.changed.notify_all()
            while step not in self.ready:
                self.changed.wait()
            found = self.ready.pop(step)
            for old in [s for s in self.ready if s < step]:
                del self.ready[old]
            self.changed.notify_all()
            if isinstance(found, BaseException):
                self.forget(0)  # asked again, it is tried again
                raise found
            return found

    def clear(self) -> None:
        """Throw away what was drawn: after a rewind, or when data are to be skipped."""
        with self.changed:
            self.forget(0)

    def forget(self, step: int) -> None:
        """Begin anew at a step; the caller holds the lock."""
        self.ready.clear()
        self.next, self.drawing = step, 0
        self.turn += 1

    def work(self) -> None:
        """Draw whatever is missing, in order, until closed."""
        while True:
            with self.changed:
                while not self.closed and not self.idle_over():
                    self.changed.wait()
                if self.closed:
                    return
                step, turn = self.next, self.turn
                self.next, self.drawing = step + 1, step
            try:
                found: Batch | BaseException = self.draw(step)
            except BaseException as error:  # noqa: BLE001 (raised again where the batch is needed)
                found = error
            with self.changed:
                if turn == self.turn:
                    self.ready[step], self.drawing = found, 0
                self.changed.notify_all()

    def idle_over(self) -> bool:
        """Tell whether there is a batch to draw now."""
        return self.next > 0 and self.next <= self.wanted + self.depth

    def close(self) -> None:
        """Stop the thread and wait for it."""
        with self.changed:
            self.closed = True
            self.ready.clear()
            self.changed.notify_all()
        self.thread.join()
