"""Lets the playbook answer a sick run, and compares its end with that of its healthy twin."""

import json
import lzma
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from surefoot import kinds
from surefoot.bench.watched.fault import Fault
from surefoot.bench.watched.halves import Half
from surefoot.records import Eval, Finding, Remedy, read

SEEDS = 2
WITHIN = 1.02  # of the twin's validation loss
NAME = "acted.json.xz"


@dataclass(frozen=True, slots=True)
class Acted:
    """One run in act mode, and its twin that nothing befell."""

    kind: str
    seed: int
    curable: bool
    ce: float  # last validation, nats; nan = none
    twin_ce: float
    remedies: tuple[str, ...] | list[str]
    retrained: int  # steps
    exit: int
    seconds: float = 0.0

    @property
    def recovered(self) -> bool:
        """Say whether it came to its plan's end as well as its twin."""
        return self.exit == 0 and self.ce <= WITHIN * self.twin_ce


def wanted(kind: str, number: int) -> bool:
    """Say whether a run is tried in act mode: the curable ones, and healthy twins to compare."""
    if number >= SEEDS:
        return False
    return kind == "plain" or (
        kind in kinds.names("faults") and kinds.find("faults", kind).FAULT.curable
    )


def acted(kind: str, half: Half, seed: int) -> Acted:
    """Train a run to its end with the guard acting."""
    from surefoot.bench.watched.recording import opened
    from surefoot.run import drill
    from surefoot.train import train

    changes: dict[str, object] = {"guard.mode": "act", "save.keep": "all"}
    fault: Fault | None = kinds.find("faults", kind).FAULT if kind != "plain" else None
    if fault is not None:
        changes |= fault.changes
    with tempfile.TemporaryDirectory() as folder:
        run = opened(half, seed, Path(folder), changes)
        if fault is not None:
            drill.put(run, f"{kind}@{fault.onset}")
        outcome = train(run)
        run.close()
        told = list(read(Path(folder) / "journal.jsonl"))
    evals = [one.val_ce for one in told if isinstance(one, Eval)]
    remedies = [one for one in told if isinstance(one, Remedy)]
    return Acted(
        kind=kind,
        seed=seed,
        curable=fault is not None and fault.curable,
        ce=evals[-1] if evals and outcome.exit == 0 else 1e9,
        twin_ce=1e9,
        remedies=[f"{r.answers}: {r.name}@{r.at_step}" for r in remedies]
        or [f"{f.id}@{f.step}" for f in told if isinstance(f, Finding) and f.severity == "act"],
        retrained=sum(r.step - int(r.args["to_step"]) for r in remedies if r.name == "rewind"),
        exit=outcome.exit,
    )


def paired(found: Iterable[Acted]) -> list[Acted]:
    """Set each beside the healthy run of its seed."""
    from dataclasses import replace

    found = list(found)
    twins = {one.seed: one.ce for one in found if one.kind == "plain"}
    return [replace(one, twin_ce=twins[one.seed]) for one in found if one.seed in twins]


def keep(folder: Path, found: Iterable[Acted]) -> None:
    """Write them beside the streams."""
    text = json.dumps([asdict(one) for one in found])
    (folder / NAME).write_bytes(lzma.compress(text.encode()))


def kept(folder: Path) -> list[Acted]:
    """Read them."""
    path = folder / NAME
    if not path.is_file():
        return []
    return [Acted(**one) for one in json.loads(lzma.decompress(path.read_bytes()))]
