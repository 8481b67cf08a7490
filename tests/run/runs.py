"""Runs small enough to be killed by the dozen, and what two runs are compared by."""

import io
import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from surefoot.records import replayable, rows
from surefoot.run.asked import Asked, Ended
from surefoot.run.session import session
from surefoot.show.terminal import Terminal

TINY = """
schema = 1
name = "tiny"
[model]
dim = 16
layers = 2
heads = 2
kv_heads = 1
pattern = "LH"
ffn = { kind = "swiglu", width = 32 }
[model.mixers]
L = { kind = "windowed", window = { knob = "window" } }
H = { kind = "haar", levels = 2 }
[knobs.window]
kind = "windows"
start = 4
end = 16
round = 4
[data]
corpus = { kind = "text", path = "text.txt", split = "blank_line" }
tokenizer = { kind = "byte" }
[val]
every = 15
share = 0.2
prompts = []
[train]
steps = 40
batch = 2
accumulate = 2
seq_len = 16
threads = 1
[save]
every = 10
[guard]
probe_every = 5
"""


def place(folder: Path, recipe: str = TINY) -> Path:
    """Lay a recipe and its text into a folder, and give the recipe's path."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = random.Random(5)
    words = ["red", "stone", "walks", "under", "nine", "small", "rivers", "and", "sings"]
    lines = [" ".join(draw.choices(words, k=9)) for _ in range(400)]
    (folder / "text.txt").write_text("\n\n".join(lines) + "\n")
    path = folder / "tiny.toml"
    path.write_text(recipe.replace('"text.txt"', f'"{folder}/text.txt"'))
    return path


def quiet() -> Terminal:
    return Terminal(plain=True, quiet=True, stream=io.StringIO())


def start(recipe: Path, run: Path, **asked: Any) -> Ended:
    """Train in this process, without timed steps."""
    asked = {"timed": False, **asked}
    return session(Asked(what=str(recipe), run=run, **asked), quiet())


def resume(run: Path, **asked: Any) -> Ended:
    """Go on with a run in this process."""
    return session(Asked(named=False, resume=str(run), timed=False, **asked), quiet())


def journal(run: Path) -> list[str]:
    """Give the lines that an equal run must write again."""
    return [json.dumps(told) for raw in rows(run / "journal.jsonl") if (told := replayable(raw))]


def files(run: Path, pointer: str = "final") -> dict[str, Any]:
    """Give the hashes of a checkpoint's files."""
    return json.loads((run / pointer / "manifest.json").read_bytes())["files"]


def check_equal(run: Path, twin: Path) -> None:
    """Hold a run against its undisturbed twin: line by line, byte by byte."""
    assert journal(run) == journal(twin)
    assert files(run) == files(twin)


def forked(act: Callable[[], int]) -> int:
    """Start a child that shares what is imported already; give its pid."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 99
    try:
        code = act()
    except BaseException:  # noqa: BLE001 (a child must never come back as a second pytest)
        traceback.print_exc(file=sys.__stderr__)
    finally:
        os._exit(code)


def ended(pid: int) -> int:
    """Wait for a child; give its exit code, or 128 + the signal that ended it."""
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def killed_after(pid: int, seconds: float) -> int:
    """Kill a child after a while, unless it ended by itself."""
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    return ended(pid)


def wait_for(path: Path, text: str) -> None:
    """Wait until a file says something."""
    for _ in range(20_000):
        if path.exists() and text in path.read_text():
            return
        time.sleep(0.002)
    raise AssertionError(f"{path} never said {text!r}")
