"""Runs a seed's literal command as the surefoot command that it stands for, printed first.

Each script here has one table of spellings, a TOML file of its own name; nothing in surefoot knows
them. What a table doesn't name is surefoot's own word, and is passed on as it is.
"""

import os
import shlex
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def run(script: str, words: Sequence[str] | None = None) -> int:
    """Translate a command line of this script, say what it stands for, and do that."""
    from surefoot.cli import main

    given = sys.argv[1:] if words is None else words
    translated = command(table(Path(script).stem), given, os.environ)
    print(f"surefoot {shlex.join(translated)}", file=sys.stderr)  # noqa: T201
    return main(translated)


def table(name: str) -> dict[str, Any]:
    """Read a script's spellings."""
    return tomllib.loads((HERE / f"{name}.toml").read_text(encoding="utf-8"))


def command(spelt: Mapping[str, Any], words: Sequence[str], around: Mapping[str, str]) -> list[str]:
    """Write the surefoot command: names of the seed as keys, theirs before their defaults."""
    values = {name: toml(one["value"]) for name, one in spelt["names"].items()}
    values |= {name: around[name] for name in values if name in around}
    rest: list[str] = []
    for word in words:
        name, sign, value = word.partition("=")
        if sign and name in values:
            values[name] = value
        else:
            rest.append(word)
    written = {word.partition("=")[0] for word in rest if "=" in word}
    keys = [(spelt["names"][name]["key"], value) for name, value in values.items()]
    overrides = [f"{key}={value}" for key, value in keys if key not in written]
    place = [] if {"--run", "--resume"} & set(rest) else ["--run", spelt["run"]]
    return [*spelt["command"], *overrides, *place, *rest]


def toml(value: object) -> str:
    """Write a default as the command line has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def page() -> str:
    """Write docs/from-the-seeds.md."""
    rows = "\n".join(row for path in sorted(HERE.glob("*.toml")) for row in lines(path))
    return f"""# From the seeds

What five training reports called things, and what says the same here. The commands run from a
checkout: each prints the surefoot command that it stands for, then runs it.

| seed | its command or name | surefoot |
|---|---|---|
{rows}
"""


def lines(path: Path) -> Iterator[str]:
    """Write one script's rows of the page."""
    spelt = table(path.stem)
    seed, stands_for = spelt["seed"], shlex.join(command(spelt, [], {}))
    yield f"| {seed} | `python scripts/{path.stem}.py` | `surefoot {stands_for}` |"
    for name, one in spelt["names"].items():
        yield f"| {seed} | `{name}={toml(one['value'])}`, in front or behind | `{one['key']}` |"
    for theirs, ours in spelt["files"].items():
        yield f"| {seed} | `{theirs}` | {ours} |"


if __name__ == "__main__":
    (HERE.parent / "docs" / "from-the-seeds.md").write_text(page(), encoding="utf-8")
