"""Drives a nanoGPT checkout: its README's recipe for a CPU, over our text, in a copy of its own."""

import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from surefoot.errors import Problem, UsageError

README = (
    "config/train_shakespeare_char.py --device=cpu --compile=False --eval_iters=20 "
    "--log_interval=1 --block_size=64 --batch_size=12 --n_layer=4 --n_head=4 --n_embd=128 "
    "--max_iters={steps} --lr_decay_iters={steps} --dropout=0.0"
)
STEPS = 2000
EVAL_EVERY = 250  # its configuration's; these iterations' times hold a validation
ITERATION = re.compile(r"^iter (\d+): loss \S+ time ([\d.]+)ms", re.MULTILINE)
# run by the checkout's own Python beside its model.py; each target of the tail counts once
JUDGE = """
import numpy, torch
from model import GPT, GPTConfig
kept = torch.load("out-shakespeare-char/ckpt.pt", map_location="cpu")
model = GPT(GPTConfig(**kept["model_args"]))
model.load_state_dict(kept["model"])
model.eval()
ids = numpy.fromfile("data/shakespeare_char/val.bin", numpy.uint16)
ids = torch.from_numpy(ids.astype("int64"))
total, last = 0.0, len(ids) - 1
with torch.no_grad():
    for start in range(0, last, 64):
        end = min(last, start + 64)
        loss = model(ids[None, start:end], ids[None, start + 1 : end + 1])[1]
        total += loss.item() * (end - start)
print(total / last, kept["iter_num"])
"""


@dataclass(frozen=True, slots=True)
class Peer:
    """What one run of it took and reached."""

    threads: int
    loop_s: float  # all iterations, without its validations
    wall_s: float  # the process, from Enter to its end
    cpu_s: float  # of that process, all threads
    ce: float  # over the whole tail, in windows of 64
    best_step: int  # of the weights that it kept
    steps: int


def prepared(checkout: Path, text: str, tail: float, folder: Path) -> Path:
    """Copy a checkout and give it our text in its own format."""
    if not (checkout / "train.py").is_file() or not (checkout / "model.py").is_file():
        raise UsageError(
            Problem(
                what="--against",
                value=str(checkout),
                why="there is no nanoGPT here (train.py and model.py)",
                instead="Give the folder of a checkout of nanoGPT",
            )
        )
    copy = folder / "nanogpt"
    shutil.copytree(checkout, copy, ignore=shutil.ignore_patterns(".git", "out-*"))
    data = copy / "data" / "shakespeare_char"
    data.mkdir(parents=True, exist_ok=True)
    letters = sorted(set(text))
    number = {letter: i for i, letter in enumerate(letters)}
    ids = np.array([number[letter] for letter in text], dtype=np.uint16)
    cut = len(ids) - round(len(ids) * tail)
    ids[:cut].tofile(data / "train.bin")
    ids[cut:].tofile(data / "val.bin")
    # {"vocab_size": n} in the oldest and plainest form of its format, which is text: without it
    # the peer would train a vocabulary of 50,304
    (data / "meta.pkl").write_bytes(b"(dVvocab_size\nI%d\ns." % len(letters))
    return copy


def trained(copy: Path, threads: int, steps: int = STEPS) -> Peer:
    """Train it with its README's settings, and judge what it kept."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    environment.pop("PYTHONPATH", None)
    began, used = time.perf_counter(), os.times()
    command = [sys.executable, "-W", "ignore", "train.py", *README.format(steps=steps).split()]
    said = told(command, copy, environment)
    wall, now = time.perf_counter() - began, os.times()
    cpu = now.children_user + now.children_system - used.children_user - used.children_system
    took = {int(step): float(ms) / 1000 for step, ms in ITERATION.findall(said)}
    plain = statistics.median(took.values())
    loop = sum(plain if step % EVAL_EVERY == 0 else each for step, each in took.items())
    ce, best = told([sys.executable, "-W", "ignore", "-c", JUDGE], copy, environment).split()[-2:]
    return Peer(threads, loop, wall, cpu, float(ce), int(best), steps)


def told(command: list[str], folder: Path, environment: dict[str, str]) -> str:
    """Run it and give what it printed."""
    ended = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    if ended.returncode:
        last = (ended.stderr.strip().splitlines() or ["without a word"])[-1]
        raise UsageError(
            Problem("--against", "", f"the checkout failed ({last})", "Make it run by itself first")
        )
    return ended.stdout
