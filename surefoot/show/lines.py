"""A run as plain lines: what the terminal prints where nothing is redrawn, and train.log keeps."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from surefoot.records import End, Eval, Event, Finding, Header, Record, Remedy, Step
from surefoot.show.amounts import clock, count, duration, figure, gib
from surefoot.show.pace import Pace
from surefoot.show.printed import printable

APART_S = 10.0  # at least so long between two step lines
TABLE = f"{'step':>7} {'loss':>8} {'ce':>8} {'grad':>8} {'lr':>18} {'tok/s':>6} {'mem':>9}     left"
WORDS = {"refuse": "refused", "act": "act", "warn": "warn", "note": "note"}
ORDER = ("note", "warn", "act", "refuse")
UNTOLD = frozenset({"accepted", "already_saved"})  # said elsewhere, or of no use to a reader
INDENT = " " * 9


def plain_lines(record: Record, left_s: float | None = None) -> list[str]:
    """Give the lines of one record, without anything that came before it."""
    if isinstance(record, Step):
        return [step_line(record, left_s)]
    if isinstance(record, Eval):
        best = " · best" if record.best else ""
        front = f"──── step {record.step} · val ce {figure(record.val_ce)}"
        return [f"{front} · bpb {figure(record.val_bpb, 3)}{best} ────"]
    if isinstance(record, Finding):
        return finding_lines(record)
    if isinstance(record, Event):
        return event_lines(record)
    if isinstance(record, Remedy):
        told = ", ".join(f"{key} {value}" for key, value in record.args.items())
        return [
            printable(f"  act    {record.answers or record.id} → {record.name} {told}".rstrip())
        ]
    if isinstance(record, Header):
        return [header_line(record)]
    reason = f": {record.reason}" if record.reason else ""
    return [printable(f"{record.state} at step {record.step}{reason}")]


def step_line(step: Step, left_s: float | None) -> str:
    """Write one step under the table's head."""
    role = "matrix" if "matrix" in step.lr else next(iter(step.lr), "")
    lr = f"{step.lr[role]:.3g} ({role})" if role else "-"
    mem = gib(step.gpu_mem_alloc_mib if step.gpu_mem_alloc_mib is not None else step.rss_mib)
    speed = "-" if step.tok_per_s is None else count(step.tok_per_s)
    left = "" if left_s is None else clock(left_s)
    front = f"{step.step:>7} {figure(step.loss):>8} {figure(step.ce):>8} "
    grad = figure(step.grad_norm, 3)
    line = f"{front}{grad:>8} {lr:>18} {speed:>6} {mem:>9} {left:>8}".rstrip()
    if step.skipped:
        return f"{line}  update left out"
    parts = step.skipped_micro
    return f"{line}  {len(parts)} of {parts[0]['of']} micro-batches left out" if parts else line


def finding_lines(finding: Finding) -> list[str]:
    """Say what was found in words, and below it what to do."""
    said = f"{finding.what} = {finding.value}" if finding.value else finding.what
    word = WORDS[finding.severity]
    front = f"{word:<9}" if finding.severity == "refuse" else f"  {word:<7}"
    return [
        printable(f"{front}{finding.id}  {said}: {finding.why}."),
        *([printable(f"{INDENT}{finding.instead}")] if finding.instead else []),
    ]


def event_lines(event: Event) -> list[str]:
    """Say what happened."""
    args = event.args
    if event.name in UNTOLD:
        return []
    if event.name == "saved":
        took = args.get("write_s", 0.0) + args.get("verify_s", 0.0)
        return [f"saved    step {event.step} in {took:.2f} s"]
    if event.name.endswith("_raised"):
        knob = event.name.removesuffix("_raised")
        told = " ".join(f"{key} {value}" for key, value in args.items())
        return [printable(f"  🚀     {knob} raised at step {event.step}: {told}".rstrip())]
    told = ", ".join(f"{key} {value}" for key, value in args.items() if value not in ("", 0, None))
    return [printable(f"{event.name:<8} at step {event.step}{': ' + told if told else ''}")]


def header_line(header: Header) -> str:
    """Say what runs, and from where on."""
    facts = header.facts
    parts = [str(facts.get("name", "run")), f"surefoot {facts.get('surefoot', '?')}"]
    parts += [f"torch {facts['torch']}"] if "torch" in facts else []
    parts += (
        [f"{facts['device']}, {facts.get('threads', '?')} threads"] if "device" in facts else []
    )
    on = f"going on from step {header.step}" if header.step else f"{facts.get('steps', '?')} steps"
    return printable(" · ".join([*parts, on]))


class Lines:
    """Follows a run and says what is worth a line; the same records always give the same lines."""

    def __init__(self, steps: int, every: int, folder: str = "") -> None:
        self.steps, self.every, self.folder = steps, every, folder
        self.pace = Pace(steps)
        self.shown: set[tuple[str, str]] = set()  # findings that preflight has said already
        self.first: Step | None = None
        self.last: Step | None = None
        self.printed: Step | None = None
        self.evaluated: Eval | None = None
        self.best_step = 0
        self.saved_step = 0
        self.worst = ""
        self.forecast_s: float | None = None
        self.headed = False

    def lines(self, record: Record, samples: Sequence[Mapping[str, Any]] = ()) -> list[str]:
        """Give the lines that a record adds."""
        self.pace.take(record)
        if isinstance(record, Step):
            return self.step(record)
        if isinstance(record, Eval):
            self.evaluated = record
            self.best_step = record.step if record.best else self.best_step
            return [*plain_lines(record), *sample_lines(samples)]
        if isinstance(record, Finding):
            self.worst = max(self.worst, record.severity, key=("", *ORDER).index)
            if (record.id, record.what) in self.shown:
                return []
        if isinstance(record, Header):
            forecast: Mapping[str, float] = record.facts.get("forecast") or {}
            self.forecast_s = forecast.get("seconds")
        if isinstance(record, Event) and record.name in ("saved", "already_saved"):
            self.saved_step = record.step
        if isinstance(record, End):
            return self.end(record)
        return plain_lines(record)

    def step(self, step: Step) -> list[str]:
        """Give a step's line where it is due: every so many steps, and not too close in time."""
        self.first, self.last = self.first or step, step
        if not self.due(step):
            return []
        self.printed = step
        head = [] if self.headed else [TABLE]
        self.headed = True
        return [*head, *plain_lines(step, self.pace.left_s(step.step))]

    def due(self, step: Step) -> bool:
        """Say whether a step gets a line: the first, the last, one left out, one in so many."""
        last = self.printed
        if last is None or step.skipped or step.step == self.steps:
            return True
        if step.step - last.step < self.every:
            return False
        return step.t is None or last.t is None or step.t - last.t >= APART_S

    def end(self, end: End) -> list[str]:
        """Sum the run up, and name the next command."""
        if end.state == "finished":
            return self.finished(end)
        reason = printable(end.reason)
        found = [f"{end.state:<9}after step {end.step} of {self.steps}: {reason}"]
        resume = f"surefoot train --resume {self.folder}"
        resume += " --accept stopped" if end.exit == 4 else ""
        if self.saved_step:
            found.append(f"{INDENT}saved step {self.saved_step} · resume: {resume}")
        return found

    def finished(self, end: End) -> list[str]:
        """Sum up a run that reached its last step."""
        forecast = f" (forecast {duration(self.forecast_s)})" if self.forecast_s else ""
        parts = [f"finished {end.step} steps in {duration(end.hours * 3600)}{forecast}"]
        if self.last is not None:
            parts.append(f"{count(self.last.tokens)} tokens")
        if speed := self.speed():
            parts.append(f"{count(speed)} tok/s with saves and evals")
        found = [" · ".join(parts)]
        if self.evaluated is not None:
            val = self.evaluated
            worst = f"worst finding: {self.worst}" if self.worst not in ("", "note") else ""
            said = worst or "no finding above note"
            front = f"{INDENT}val ce {figure(val.val_ce)} nats/token = {figure(val.val_bpb, 3)}"
            found.append(f"{front} bits/byte · best step {self.best_step} · {said}")
        if self.folder:
            found.append(f"{INDENT}{self.folder}/report.md    surefoot generate {self.folder}")
        return found

    def speed(self) -> float | None:
        """Give tokens a second over the whole process, with all that stood between the steps."""
        first, last = self.first, self.last
        if first is None or last is None or first.t is None or last.t is None or last.t <= first.t:
            return None
        return (last.tokens - first.tokens) / (last.t - first.t)


def sample_lines(samples: Sequence[Mapping[str, Any]], most: int = 3) -> list[str]:
    """Show the first sampled text, a few lines of it."""
    drawn = [one for one in samples if one.get("temperature")] or list(samples)
    if not drawn:
        return []
    text = f"{drawn[0].get('prompt', '')}{drawn[0].get('text', '')}"
    rows = [printable(row, keep="\t").expandtabs(4).rstrip() for row in text.splitlines()]
    return [f"     {row[:100]}" for row in rows if row][:most]


def fitted(line: str, width: int, limit: int = 190) -> list[str]:
    """Cut a line into some that fit, in columns and in bytes."""
    if len(line) <= width and len(line.encode()) <= limit:
        return [line]
    start = line[: len(line) - len(line.lstrip())]
    cut = textwrap.wrap(
        line.strip(), width - len(start), subsequent_indent="" if start else INDENT,
        break_on_hyphens=False,
    )  # fmt: skip
    if width > 60 and any(len(part.encode()) > limit - len(start) for part in cut):
        return fitted(line, width // 2, limit)
    return [f"{start}{part}" for part in cut]
