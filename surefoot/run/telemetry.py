"""Writes what stands beside the journal: CSV, log, samples, status and the heartbeat."""

import json
import threading
import time
from typing import TYPE_CHECKING, Any

from surefoot.records import End, Eval, Record, Step, read
from surefoot.run.memory import rss_mib
from surefoot.shelf.disk import Disk
from surefoot.show import columns, summary, terminal

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
        self.header = columns.metrics_header(run.recipe)
        self.rebuild()
        self.beat = Heartbeat(run, disk)

    def rebuild(self) -> None:
        """Write the tables anew from the journal, so that a resume leaves no line twice."""
        path = self.run.folder / "journal.jsonl"
        records = list(read(path)) if path.exists() else []
        for name, header, row in self.tables():
            rows = [row(record) for record in records]
            text = columns.line(header) + "".join(columns.line(one) for one in rows if one)
            self.disk.write_atomic(self.run.folder / name, text.encode())

    def tables(self) -> list[tuple[str, list[str], Any]]:
        """Name each table, its header, and how a record becomes a row."""
        return [
            ("metrics.csv", self.header, lambda r: columns.metrics_row(r, self.header)),
            ("val.csv", columns.VAL_HEADER, columns.val_row),
        ]

    def __call__(self, record: Record) -> None:
        """Take in one record."""
        for name, _, row in self.tables():
            if cells := row(record):
                self.add(name, columns.line(cells))
        if said := terminal.plain_line(record):
            stamp = time.strftime("%H:%M:%S", time.localtime(record.t))
            self.add("train.log", f"{stamp}  {said}\n")
        if isinstance(record, Eval):
            for sample in self.run.judge.samples:
                self.add("samples.jsonl", json.dumps(sample) + "\n")
        now = time.monotonic()
        urgent = not isinstance(record, Step)
        if urgent or now - self.flushed > FLUSH_S:
            self.flush(now)
        if urgent or now - self.told > STATUS_S:
            self.status(record, now)
        if isinstance(record, End):
            self.close()

    def add(self, name: str, text: str) -> None:
        """Keep a line until the next flush."""
        self.pending.setdefault(name, []).append(text)

    def flush(self, now: float) -> None:
        """Append what is pending."""
        self.flushed = now
        for name, texts in self.pending.items():
            opened = self.disk.open_append(self.run.folder / name)
            try:
                self.disk.append(opened, "".join(texts).encode())
            finally:
                self.disk.close(opened)
        self.pending = {}

    def status(self, record: Record, now: float) -> None:
        """Replace status.json."""
        self.told = now
        text = json.dumps(summary.status(self.run.recipe, self.run.progress, record)) + "\n"
        self.disk.write_atomic(self.run.folder / "status.json", text.encode())

    def close(self) -> None:
        """Write the summary and stop the heartbeat."""
        self.beat.close()
        records = list(read(self.run.folder / "journal.jsonl"))
        text = json.dumps(summary.metrics(records), indent=1) + "\n"
        self.disk.write_atomic(self.run.folder / "metrics.json", text.encode())


class Heartbeat(threading.Thread):
    """Says every ten seconds that the process lives, and where its loop is."""

    def __init__(self, run: "Run", disk: Disk) -> None:
        super().__init__(daemon=True, name="heartbeat")
        self.run_, self.disk = run, disk
        self.ended = threading.Event()
        self.start()

    def run(self) -> None:
        """Beat until closed."""
        path = self.run_.folder / "heartbeat_rank0.jsonl"
        while True:
            opened = self.disk.open_append(path)
            try:
                self.disk.append(opened, (json.dumps(self.line()) + "\n").encode())
            finally:
                self.disk.close(opened)
            if self.ended.wait(BEAT_S):
                return

    def line(self) -> dict[str, Any]:
        """Tell of this moment."""
        last, used = self.run_.progress.last, rss_mib()
        return {
            "t": round(time.time(), 3),
            "rank": 0,
            "local_rank": 0,
            "step": self.run_.progress.step,
            "phase": self.run_.phase,
            "step_s": last.step_s if last else None,
            "tok_per_s": last.tok_per_s if last else None,
            "rss_mib": used,
            "rss_gib": round(used / 1024, 3),
        }

    def close(self) -> None:
        """Stop."""
        self.ended.set()
        self.join(timeout=5)
