"""Measures speed by a bench's own protocol; without a name, lists the benches and last results."""

import argparse
import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from surefoot import __version__, kinds
from surefoot.errors import Problem, RunError, UsageError, nearest

TAKES = "[NAME]"
EXAMPLES = """
surefoot bench
surefoot bench startup --quick
"""
RESULTS = Path("bench-results")
COLUMNS = ("case", "a", "b", "ratio", "lo", "hi", "pairs", "redrawn", "goal", "verdict")


def options(parser: argparse.ArgumentParser) -> None:
    """Take what every bench knows."""
    add = parser.add_argument
    add("--goal", action="store_true", help="give 3 if a goal is missed")
    add("--quick", action="store_true", help="at most a minute; never compared with a full one")
    add("--repeat", type=int, default=1, metavar="N", help="measure so many times longer (1)")


def own_options(parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
    """Take what the bench that is named adds."""
    name = next((word for word in words if word in kinds.names("bench")), None)
    own = getattr(kinds.find("bench", name), "options", None) if name else None
    if own is not None:
        own(parser.add_argument_group(f"of {name}"))


def main(asked: argparse.Namespace) -> int:
    """Run a bench, keep its figures, and print them."""
    if not asked.what:
        return listed(asked.json)
    from surefoot.show.printed import document, printable
    from surefoot.show.recipe_lines import recipe_lines

    name = asked.what[0]
    bench = find(name)
    if asked.repeat < 1:
        raise UsageError(Problem("--repeat", f"{asked.repeat}", "once at least", "Write 1"))
    told = bench.run(quick=asked.quick, repeat=asked.repeat, **own(asked))
    result = {"v": 1, "name": name, **about(asked.quick), **told}
    where = keep(name, result)
    if asked.json:
        print(document(**result))
    else:
        columns = told.get("columns", COLUMNS)
        for line in recipe_lines([columns, *([cell(row.get(c)) for c in columns]
                                             for row in result["rows"])]):  # fmt: skip
            print(printable(line))
        print(printable(f"{where}{' (quick: not to be compared with a full one)' * asked.quick}"))
    missed = any(row.get("verdict") == "missed" for row in result["rows"])
    return 3 if asked.goal and missed else 0


def find(name: str) -> ModuleType:
    """Import a bench."""
    known = kinds.names("bench")
    if name in known:
        return kinds.find("bench", name)
    best = nearest(name, known)
    hint = f"Did you mean {best[0]}? " if best else ""
    there = f"{hint}The benches are {', '.join(known) or '(none yet)'}"
    raise UsageError(Problem(name, "", "there is no such bench", there))


def own(asked: argparse.Namespace) -> dict[str, Any]:
    """Keep what is not an option of every bench."""
    of_all = {"json", "debug", "folder", "words", "what", "changes", "goal", "quick", "repeat"}
    return {name: value for name, value in vars(asked).items() if name not in of_all}


def about(quick: bool) -> dict[str, Any]:
    """Describe when and where; no name of the machine is in it."""
    import importlib.metadata

    from surefoot.run.memory import available_gib

    versions = {name: importlib.metadata.version(name) for name in ("torch", "numpy")}
    return {
        "when": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "quick": quick,
        "machine": {
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
            "processor": processor(),
            "memory_free_gib": round(available_gib(), 1),
            "system": f"{platform.system()} {platform.machine()}",
            "load": [round(load, 2) for load in os.getloadavg()],
            "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY", ""),
            "omp_num_threads": os.environ.get("OMP_NUM_THREADS", ""),
        },
        "versions": {"surefoot": __version__, "python": platform.python_version(), **versions},
    }


def processor() -> str:
    """Name the processor, where the system tells."""
    told = Path("/proc/cpuinfo")
    for line in told.read_text(encoding="utf-8").splitlines() if told.is_file() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def keep(name: str, result: Mapping[str, Any]) -> Path:
    """Write the result where the next listing, and the docs, find it."""
    from surefoot.records import written
    from surefoot.shelf.disk import Disk

    path = RESULTS / f"{name}.json"
    try:
        RESULTS.mkdir(exist_ok=True)
        text = json.dumps(written(result), indent=1, allow_nan=False)
        Disk().write_atomic(path, f"{text}\n".encode())
    except OSError as error:
        why = f"it can't be written ({error.strerror or error})"
        raise RunError(Problem(str(path), "", why, "Go to a folder that can"), exit=1) from None
    return path


def listed(as_json: bool) -> int:
    """Print each bench with its sentence and last result."""
    from surefoot.show.printed import document, printable

    told = {name: {"about": sentence, "last": last(name)}
            for name, sentence in kinds.sentences("bench").items()}  # fmt: skip
    if as_json:
        print(document(benches=told))
        return 0
    wide = max(map(len, told), default=0)
    for name, one in told.items():
        print(printable(f"{name:<{wide}}  {one['about']}"))
        for row in (one["last"] or {}).get("rows", ()):
            goal = f" (goal {cell(row.get('goal'))}: {row.get('verdict')})" if "goal" in row else ""
            print(printable(f"{'':<{wide}}    {row.get('case')}: {cell(row.get('ratio'))}{goal}"))
    if not told:
        print("no benches yet")
    return 0


def last(name: str) -> dict[str, Any] | None:
    """Read a bench's last result; a file that is damaged or foreign is none."""
    try:
        read = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return read if isinstance(read, dict) and isinstance(read.get("rows"), list) else None


def cell(value: Any) -> str:
    """Write a figure; absent is "-"."""
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
