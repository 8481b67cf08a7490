"""Writes what stands beside the journal: CSV, log, samples, status and the heartbeat."""

import contextlib
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from surefoot.learn.ranks import Ranks
from surefoot.recipe.schema import Recipe
from surefoot.records import End, Eval, Record, Step, read, written
from surefoot.run.memory import rss_mib
from surefoot.run.progress import Progress
from surefoot.run.watchdog import Seen, Watchdog, behind, limits, stacks
from surefoot.shelf.disk import Disk
from surefoot.show.columns import Tables
from surefoot.show.lines import Lines, fitted
from surefoot.show.report import report
from surefoot.show.summary import Status, metrics

if TYPE_CHECKING:
    from surefoot.run.run import Run

STATUS_S = 2.0
BEAT_S = 10.0
FLUSH_S = 1.0


class Telemetry:
    """Listens to the journal and keeps the run folder's other files."""

    def __init__(self, run: "Run", disk: Disk) -> None:
        self.run, self.disk = run, disk
        self.pending: dict[str, list[str]] = {}
        self.flushed = self.told = 0.0
        self.tables = Tables(run.recipe)
        self.status = Status(run.recipe)
        self.log = Lines(run.recipe.train.steps, run.recipe.logs.every)
        self.rebuild()
        self.beat = Heartbeat(run, disk, run.lead.ranks)

    def rebuild(self) -> None:
        """Write the tables anew from the journal, so that a resume leaves no line twice."""
        path = self.run.folder / "journal.jsonl"
        past = list(read(path)) if path.exists() else []
        for name, text in self.tables.whole(past).items():
            self.disk.write_atomic(self.run.folder / name, text.encode())
        for record in past:
            self.status.take(record)

    def __call__(self, record: Record) -> None:
        """Take in one record."""
        for name, line in self.tables.lines(record):
            self.add(name, line)
        stamp = time.strftime("%H:%M:%S", time.localtime(record.t))
        samples = self.run.judge.samples if isinstance(record, Eval) else ()
        for line in self.log.lines(record, samples):
            for part in fitted(line, 180, limit=189):  # bytes: 200 with the time and the newline
                self.add("train.log", f"{stamp}  {part}\n")
        if isinstance(record, Eval):
            for sample in self.run.judge.samples:
                self.add("samples.jsonl", json.dumps(written(sample)) + "\n")
        self.status.take(record)
        now = time.monotonic()
        urgent = not isinstance(record, Step)
        if urgent or now - self.flushed > FLUSH_S:
            self.flush(now)
        if urgent or now - self.told > STATUS_S:
            self.tell(now)
        if isinstance(record, End):
            self.close()

    def add(self, name: str, text: str) -> None:
        """Keep a line until the next flush."""
        self.pending.setdefault(name, []).append(text)

    def flush(self, now: float) -> None:
        """Append what is pending; a disk that is full keeps it waiting, as the journal does."""
        self.flushed = now
        for name in list(self.pending):
            try:
                self.append(name, "".join(self.pending[name]))
            except OSError:  # told by the journal, which has the same trouble and more patience
                return
            del self.pending[name]

    def append(self, name: str, text: str) -> None:
        """Add text to a file of the run folder."""
        opened = self.disk.open_append(self.run.folder / name)
        try:
            self.disk.append(opened, text.encode())
        finally:
            self.disk.close(opened)

    def tell(self, now: float) -> None:
        """Replace status.json."""
        self.told = now
        self.replace("status.json", json.dumps(self.status.row()) + "\n")

    def replace(self, name: str, text: str) -> None:
        """Replace a small file; on a full disk the old one stays."""
        with contextlib.suppress(OSError):  # as for flush
            self.disk.write_atomic(self.run.folder / name, text.encode())

    def close(self) -> None:
        """Write the summary and the report, and stop the heartbeat."""
        self.beat.close()
        past = list(read(self.run.folder / "journal.jsonl"))
        self.replace("metrics.json", json.dumps(metrics(past), indent=1) + "\n")
        self.replace("report.md", report(self.run.recipe, past, self.run.judge.samples))


class Beating(Protocol):
    """What has a pulse: a run, or what one of its other ranks holds."""

    folder: Path
    phase: str
    progress: Progress
    recipe: Recipe


class Heartbeat(threading.Thread):
    """Says every ten seconds that the process lives, and where its loop is; sees that it hangs."""

    def __init__(self, run: Beating, disk: Disk, ranks: Ranks) -> None:
        super().__init__(daemon=True, name="heartbeat")
        self.run_, self.disk, self.ranks = run, disk, ranks
        self.watchdog = Watchdog(limits(run.recipe))
        self.ended = threading.Event()
        self.start()

    def run(self) -> None:
        """Beat until closed."""
        path = self.run_.folder / f"heartbeat_rank{self.ranks.rank}.jsonl"
        looked = time.monotonic()
        while True:
            now = time.monotonic()
            seen = self.watchdog.look(self.run_.progress.step, self.run_.phase, now - looked)
            looked = now
            with contextlib.suppress(OSError):  # as for the tables: the journal tells of it
                self.write(path)
                if seen.warn or seen.fatal:
                    self.tell(seen)
            if seen.fatal and self.ranks.world > 1:
                os._exit(1)  # torchrun sees a dead worker; alone, nobody would start it again
            if self.ended.wait(min(BEAT_S, self.watchdog.every_s)):
                return

    def tell(self, seen: Seen) -> None:
        """Say who stands still and where, with the stacks of all threads; the loop can't."""
        end = ": this rank is ended, for its launcher to begin again" if seen.fatal else ""
        said = (
            f"{time.strftime('%H:%M:%S')}  warn   heartbeat  rank {self.ranks.rank}: nothing moved "
            f"on for {seen.age_s:.0f} s, over {seen.limit_s:.0f} s; "
            f"behind is {behind(self.run_.folder)}{end}"
        )
        sys.stderr.write(f"{said[10:]}. The stacks are in {self.run_.folder}/train.log\n")
        stacks(self.run_.folder / "train.log", said, self.disk)

    def write(self, path: Path) -> None:
        """Add a line."""
        opened = self.disk.open_append(path)
        try:
            self.disk.append(opened, (json.dumps(self.line()) + "\n").encode())
        finally:
            self.disk.close(opened)

    def line(self) -> dict[str, Any]:
        """Tell of this moment."""
        last, used = self.run_.progress.last, rss_mib()
        return {
            "t": round(time.time(), 3),
            "rank": self.ranks.rank,
            "local_rank": self.ranks.local_rank,
            "pid": os.getpid(),
            "step": self.run_.progress.step,
            "phase": self.run_.phase,
            **({"waits": True} if self.ranks.waits else {}),  # for another rank
            "step_s": last.step_s if last else None,
            "tok_per_s": last.tok_per_s if last else None,
            "rss_mib": used,
            "rss_gib": round(used / 1024, 3),
        }

    def close(self) -> None:
        """Stop."""
        self.ended.set()
        self.join(timeout=5)
