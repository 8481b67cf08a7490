"""Diagnoses logs that surefoot didn't write: read, follow, judge, and say what could not be."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from surefoot import kinds
from surefoot.errors import DataError, Problem
from surefoot.guard import arithmetic, coarse, resumed, together
from surefoot.guard.following import Following
from surefoot.guard.rows import Fact, Reading, Row
from surefoot.guard.series import Asked, Before, Series
from surefoot.guard.text import LONG_HEAD, head_of
from surefoot.records import Finding

# where a folder's log lies, the first that is there
INSIDE = ("journal.jsonl", "trainer_state.json", "metrics.csv", "train.log", "training.csv")
COVERED = ("loss", "val_ce", "lr", "grad_norm", "ce", "tok_per_s", "mem_mib")
ORDER = ("note", "warn", "act", "refuse")
# what is wrong with the numbers, not with the training
TELLING = frozenset(
    {"entropy_not_ce", "throughput_arithmetic", "claim_contradicted", "final_unconfirmed"}
    | {"loss_rise_in_decay"}
)


@dataclass(slots=True)
class Judged:
    """One run of a log, and what was found in it."""

    series: Series
    fine: bool
    findings: list[Finding] = field(default_factory=list[Finding])
    silent: dict[str, str] = field(default_factory=dict[str, str])  # monitor -> what it lacks

    @property
    def cause(self) -> Finding | None:
        """Give what came first of the worst."""
        causes = [one for one in self.findings if one.id not in TELLING]
        worst = max((ORDER.index(one.severity) for one in causes), default=0)
        same = [one for one in causes if ORDER.index(one.severity) == worst > 0]
        return min(same, key=lambda one: one.step, default=None)


@dataclass(slots=True)
class Told:
    """One file, and how it was understood."""

    path: Path
    reader: str
    reading: Reading
    runs: list[Judged] = field(default_factory=list[Judged])

    @property
    def missing(self) -> list[str]:
        """Name the columns that it hasn't got."""
        have = {name.split("/")[0] for name in self.reading.fields}
        return [name for name in COVERED if name not in have]


@dataclass(slots=True)
class Diagnosis:
    """What came of all files together."""

    files: list[Told]
    together: list[Finding]
    unreadable: list[Problem]
    unjudged: dict[str, str]  # rule -> what it needs

    @property
    def findings(self) -> list[Finding]:
        """Give all findings, in the order of the runs."""
        runs = [run for told in self.files for run in told.runs]
        return [*(one for run in runs for one in run.findings), *self.together]

    def worst(self) -> int:
        """Give the worst severity as a number."""
        return max((ORDER.index(one.severity) for one in self.findings), default=0)


def diagnose(
    paths: Sequence[Path], asked: Asked, columns: dict[str, str], most_bytes: int = 0
) -> Diagnosis:
    """Read all files, each run in them, and judge them one by one and together."""
    files: list[Told] = []
    unreadable: list[Problem] = []
    for path in paths:
        try:
            files.append(read(path, asked, Reading(columns, most_bytes)))
        except DataError as error:
            unreadable += error.problems
    runs = [run for told in files for run in told.runs]
    for run in runs:
        resumed.connect(run.series, [other.series for other in runs], asked)
    for run in runs:
        run.findings += judge(run, asked)
        run.findings.sort(key=lambda one: (one.step, -ORDER.index(one.severity)))
    every = {place: run.findings for place, run in enumerate(runs)}
    both = list(together.of_all([run.series for run in runs], every, asked))
    return Diagnosis(files, both, unreadable, unjudged(runs, asked))


def read(path: Path, asked: Asked, reading: Reading) -> Told:
    """Read one file by the reader that knows it best."""
    path = located(path)
    name = reader_of(path, reading)
    told, open_runs = Told(path, name, reading), dict[str, Following]()
    for one in kinds.find("readers", name).read(path, reading):
        run = one.run if isinstance(one, Row | Fact) else ""
        if isinstance(one, Fact):
            if run in open_runs:
                open_runs[run].series.facts[one.name] = one.value
            continue
        following = open_runs.setdefault(run, Following(run or path.stem, asked))
        if isinstance(one, Row):
            following.take(one)
        else:
            following.record(one)
    for following in open_runs.values():
        following.end()
        following.series.called = reading.fields
        fine, found, silent = bool(following.fine), following.found, following.silent
        told.runs.append(Judged(following.series, fine, found, silent))
    if not told.runs:
        raise DataError(nothing(path, name, reading))
    return told


def located(path: Path) -> Path:
    """Find the log that a path means: a file, or the one in a folder."""
    if not path.is_dir():
        return path
    events = sorted(path.glob("*tfevents*"))
    for found in [*(path / name for name in INSIDE), *events]:
        if found.is_file():
            return found
    raise DataError(
        Problem(str(path), "", "this folder holds no log that is known by its name", "Name a file")
    )


def reader_of(path: Path, reading: Reading) -> str:
    """Ask each reader how sure it is, by content and then by name."""
    head = head_of(path)
    if not head:
        raise DataError(Problem(str(path), "", "it is empty", "Name a log with rows in it"))
    sure = claims_of(head, path)
    if not any(sure.values()):
        sure = claims_of(head_of(path, LONG_HEAD), path)
    best = max(sure, key=lambda name: sure[name])
    if sure[best] < 1.0 and "\0" in head:
        raise DataError(Problem(str(path), "", "it is binary, no log", "Name a text file"))
    if sure[best] <= 0.0 and (tried := by_trial(path, reading)):
        return tried
    if sure[best] <= 0.0:
        known = ", ".join(sorted(sure))
        why = f"no reader finds steps and losses in it (asked: {known})"
        instead = "Name the columns with --map NAME=step --map NAME=loss, or write it as CSV"
        raise DataError(Problem(str(path), "", why, instead))
    return best


def claims_of(head: str, path: Path) -> dict[str, float]:
    """Ask all readers."""
    return {name: kinds.find("readers", name).claims(head, path) for name in kinds.names("readers")}


def by_trial(path: Path, reading: Reading) -> str:
    """Find a reader to which only the names of --map make sense of a log."""
    for name in kinds.names("readers") if reading.columns else ():
        reader, trial = kinds.find("readers", name), Reading(reading.columns, LONG_HEAD)
        if not getattr(reader, "BINARY", False) and any(True for _ in reader.read(path, trial)):
            return name
    return ""


def nothing(path: Path, name: str, reading: Reading) -> Problem:
    """Say that no row could be used."""
    left = ", ".join(f"{why}: {count}" for why, count in reading.left.items())
    why = f"read as {name} it has no row with a step and a number{f' ({left})' if left else ''}"
    return Problem(str(path), "", why, "Name its columns with --map NAME=FIELD")


def judge(run: Judged, asked: Asked) -> list[Finding]:
    """Ask the rules that a log can answer; statistics over steps were asked while it was read."""
    series = run.series
    if run.fine:
        jumps = [resumed.lr_jump(one) for one in series.resumes]
        own = [one for one in run.findings if one.id == "lr_jump"]
        found = [jump for jump in jumps if jump is not None and not own]
        found += arithmetic.entropy_not_ce(series, asked)
        return [*found, *arithmetic.throughput(series, asked)]
    found = [*resumed.judge(series), *coarse.judge(series, asked)]
    found += arithmetic.judge(series, asked)
    return [*found, *together.of_one(series, found)]


def unjudged(runs: Sequence[Judged], asked: Asked) -> dict[str, str]:
    """Name the rules that could not be asked, and the option that each needs."""
    needs: dict[str, str] = {}
    for run in runs:
        needs |= run.silent
    if asked.label_smoothing is None or (asked.label_smoothing and asked.vocab is None):
        needs["floor_leak"] = needs["entropy_not_ce"] = "--label-smoothing and --vocab"
    if not asked.params or not asked.batch or not asked.seq_len:
        needs["tokens_per_param"] = "--params, --batch and --seq-len"
    if any("duration_s" in run.series.facts for run in runs) and not (
        asked.batch and asked.seq_len
    ):
        needs["throughput_arithmetic"] = "--batch and --seq-len"
    return needs


def before_of(text: str, asked: Asked) -> Before:
    """Read `--resumed-from`: numbers as loss=1.2,lr=0.001, or the log of the run before."""
    parts = [part.partition("=") for part in text.split(",")]
    given = {name.strip(): value.strip() for name, sign, value in parts if sign}
    if given and set(given) <= {"loss", "lr", "step"} and not Path(text).exists():
        numbers = {name: positive(name, value) for name, value in given.items()}
        step = int(numbers.pop("step")) if "step" in numbers else None
        return Before(lr=numbers.get("lr"), loss=numbers.get("loss"), step=step)
    told = read(Path(text), asked, Reading())
    return told.runs[-1].series.stands()


def positive(name: str, text: str) -> float:
    """Read one of the numbers."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise DataError(
            Problem(
                "--resumed-from", f"{name}={text}", "a positive number is needed", "Write lr=0.001"
            )
        )
    return value


def row_of(finding: Finding) -> dict[str, Any]:
    """Give a finding as --json prints it."""
    names = ("id", "severity", "step", "what", "value", "why", "instead", "since")
    return {**{name: getattr(finding, name) for name in names}, "evidence": dict(finding.evidence)}
