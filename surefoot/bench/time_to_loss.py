"""Times `shakespeare-char` until its validation loss is 1.88, against nanoGPT's recipe for a CPU.

Goal: at least 5 times sooner than a nanoGPT checkout (--against PATH) at its own better number of
threads. Both are judged by the mean loss over the whole last 10% of the text (--text PATH). The
seconds are those of the training loop, the first step included, validations left out; the time of
each whole process stands beside them.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from surefoot.bench.peers import nanogpt
from surefoot.errors import Problem, RunError, UsageError
from surefoot.protocol import environment, interval, verdict
from surefoot.records import Step, read
from surefoot.run.opened import open_model
from surefoot.run.opening import read_data

GOAL = 5.0
LOSS = 1.88
TAIL = 0.1
RECIPE = "shakespeare-char"
SEEDS, QUICK_STEPS = 5, 250  # a quick look lets the peer do an eighth, and counts it eight times


@dataclass(frozen=True, slots=True)
class Ours:
    """What one of our runs took and reached."""

    seed: int
    loop_s: float  # all steps, without validation and save
    wall_s: float  # the process, from Enter to its end
    cpu_s: float
    ce: float  # over the whole tail
    steps: int

    @property
    def seconds(self) -> float:
        """Seconds to the loss; never, where it was not reached."""
        return self.loop_s if self.ce <= LOSS else float("inf")


def options(parser: argparse._ArgumentGroup) -> None:
    """Take what this bench adds."""
    add = parser.add_argument
    add("--text", metavar="PATH", help="the text; its last tenth judges")
    add("--against", metavar="PATH", help="a checkout of nanoGPT, trained in the same hour")
    add("--seeds", type=int, default=SEEDS, help=f"runs of ours, seeds 0, 1, ... ({SEEDS})")
    add("--threads", type=int, default=1, help="CPU threads of our side (1)")


def run(quick: bool = False, repeat: int = 1, **own: Any) -> dict[str, Any]:
    """Measure and give the rows: a is ours, b the peer's, in seconds."""
    text = given(own.get("text"))
    seeds = 1 if quick else int(own.get("seeds", SEEDS)) * repeat
    threads = int(own.get("threads", 1))
    ours: list[Ours] = []
    peers: list[nanogpt.Peer] = []
    with tempfile.TemporaryDirectory() as made:
        folder, copy = Path(made), Path()
        settings: list[int] = []
        if own.get("against"):
            copy = nanogpt.prepared(
                Path(own["against"]).resolve(), text.read_text(encoding="utf-8"), TAIL, folder
            )
            settings = sorted({1, min(2, os.cpu_count() or 1)})[: 1 if quick else None]
        for seed in range(seeds):  # a peer's run in between, so that all have the same hour
            ours.append(one(text, seed, threads, folder / f"seed{seed}"))
            if seed in peer_turns(seeds, len(settings)):
                count = settings[len(peers)]
                steps = QUICK_STEPS if quick else nanogpt.STEPS
                peers.append(nanogpt.trained(copy, count, steps))
    return {
        "name": "time_to_loss",
        "quick": quick,
        "loss": LOSS,
        "settings": {**environment(), "threads": threads, "recipe": RECIPE},
        "rows": rows(ours, peers, quick),
        "ours": [asdict(each) for each in ours],
        "peers": [asdict(each) for each in peers],
    }


def peer_turns(seeds: int, settings: int) -> list[int]:
    """Spread the peer's runs evenly between ours."""
    return [min(seeds - 1, (i * seeds) // max(1, settings)) for i in range(settings)]


def given(text: Any) -> Path:
    """Find the text."""
    if text and Path(text).is_file():
        return Path(text).resolve()
    raise UsageError(
        Problem(
            what="--text",
            value=str(text or ""),
            why="the text to learn from is needed, and nothing is downloaded"
            if not text
            else "there is no such file",
            instead="Write --text PATH with the path of tinyshakespeare's input.txt",
        )
    )


def one(text: Path, seed: int, threads: int, home: Path) -> Ours:
    """Train once in a process of its own, and judge what it saved."""
    command = [sys.executable, "-m", "surefoot", "train", RECIPE, "--quiet", "--run", str(home)]
    command += [f'data.corpus.path="{text}"', f"train.seed={seed}", f"train.threads={threads}"]
    used = os.times()
    began = time.perf_counter()
    env = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    ended = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    wall, now = time.perf_counter() - began, os.times()
    if ended.returncode:
        why = (ended.stderr.strip().splitlines() or ["without a word"])[-1]
        raise RunError(Problem(RECIPE, "", f"training failed ({why})", "Train it by hand"), exit=1)
    steps = [r for r in read(home / "journal.jsonl") if isinstance(r, Step)]
    cpu = now.children_user + now.children_system - used.children_user - used.children_system
    loop = sum(step.step_s or 0.0 for step in steps)
    return Ours(seed, loop, wall, cpu, judged(home), len(steps))


@torch.inference_mode()
def judged(home: Path) -> float:
    """Give the mean loss over the whole tail, in windows of the recipe's length."""
    opened = open_model(home)
    _, dataset = read_data(opened.recipe)
    total, count = 0.0, 0
    for batch in dataset.validation(16, "all"):
        total += float(opened.model.ce(batch, opened.knobs).sum())
        count += int((batch.targets >= 0).sum())
    return total / count


def rows(ours: list[Ours], peers: list[nanogpt.Peer], quick: bool) -> list[dict[str, Any]]:
    """Compare our median with each setting of the peer; the goal is against its better one."""
    seconds = np.array([each.seconds for each in ours])
    alone = {
        "case": f"{RECIPE}, to {LOSS}",
        "a": float(np.median(seconds)),
        "process_s": statistics.median(each.wall_s for each in ours),
        "cpu_s": statistics.median(each.cpu_s for each in ours),
        "reached": int(np.isfinite(seconds).sum()),
        "pairs": len(ours),
    }
    scale = nanogpt.STEPS / QUICK_STEPS if quick else 1.0
    best = min((peer.loop_s for peer in peers), default=None)
    return [alone, *(against(peer, seconds, scale, peer.loop_s == best) for peer in peers)]


def against(peer: nanogpt.Peer, seconds: np.ndarray, scale: float, best: bool) -> dict[str, Any]:
    """Give the row of one setting of the peer."""
    theirs = peer.loop_s * scale
    ratios = theirs / seconds
    lo, hi = interval(ratios)
    goal = GOAL if best else None
    return {
        "case": f"nanoGPT, {peer.threads} thread{'s' * (peer.threads > 1)}",
        "a": float(np.median(seconds)),
        "b": theirs,
        "ratio": float(np.median(ratios)),
        "lo": lo,
        "hi": hi,
        "pairs": len(seconds),
        "redrawn": 0,
        "goal": goal,
        "verdict": verdict(lo, hi, goal),
        "peer_ce": peer.ce,
        "peer_process_s": peer.wall_s,
        "peer_cpu_s": peer.cpu_s,
    }
