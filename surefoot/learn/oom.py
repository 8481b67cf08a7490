"""Memory that ran out in a step: where, how much was asked for, and what would need less."""

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from surefoot.errors import Problem, SurefootError
from surefoot.learn.laps import Laps
from surefoot.learn.learner import Learner

GIB = 2**30
ASKED = re.compile(r"[Tt]ried to allocate ([\d.]++) ?(\w++)")
ON_A_CPU = ("can't allocate memory", "not enough memory")  # torch raises a RuntimeError there


class OutOfMemory(SurefootError):
    """A step that does not fit: nothing of it was applied, unless it was the update itself."""

    def __init__(self, problem: Problem, whole: bool) -> None:
        super().__init__(problem, exit=1)
        self.whole = whole  # weights and optimiser state are those of the step before


@contextmanager
def caught(learner: Learner, step: int, laps: Laps) -> Iterator[None]:
    """Turn running out of memory into a sentence, and free what the step had taken."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not ran_out(error):
            raise
        whole = not learner.moving
        failed = OutOfMemory(told(learner, step, phase(learner, laps), str(error)), whole)
        # the frames of the failed pass hold its activations
        traceback.clear_frames(error.__traceback__)
    else:
        return
    learner.moving = False
    learner.drop_gradients()
    if learner.device.type == "cuda":
        torch.cuda.empty_cache()
    raise failed


def ran_out(error: BaseException) -> bool:
    """Say whether an error is about memory."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return any(words in str(error) for words in ON_A_CPU)


def phase(learner: Learner, laps: Laps) -> str:
    """Name the part of the step that was under way."""
    if learner.moving:
        return "the update"
    return "backward" if laps.last == "forward" else "forward"


def told(learner: Learner, step: int, during: str, message: str) -> Problem:
    """Put the sentence together, with numbers to paste."""
    found = ASKED.search(message)
    asked = f"{found[1]} {found[2]} asked for" if found else ""
    why = ", ".join(filter(None, [in_use(learner.device), asked])) or "nothing is left"
    return Problem(f"out of memory at step {step} in {during}", "", why, advice(learner))


def in_use(device: torch.device) -> str:
    """Say how much of a GPU's memory is taken."""
    if device.type != "cuda":
        return ""
    share = torch.cuda.get_per_process_memory_fraction(device)
    total = torch.cuda.get_device_properties(device).total_memory * share
    used = torch.cuda.memory_allocated(device)
    return f"{used / GIB:.1f} of {total / GIB:.1f} GiB in use"


def advice(learner: Learner) -> str:
    """Say what needs less memory: smaller parts of the same step, or computing twice."""
    train, ways = learner.train, list[str]()
    total = train.batch * train.accumulate
    if rows := smaller(learner.micro_rows):
        ways.append(f"train.batch={rows} train.accumulate={total // rows} (same {total} rows)")
        if train.on_oom == "stop":
            ways.append("train.on_oom=split (does that by itself)")
    if not train.grad_checkpointing:
        ways.append("train.grad_checkpointing=true")
    if not rows:
        ways.append(f"train.seq_len={max(1, train.seq_len // 2)}")
    return f"Try {' or '.join(ways)}"


def smaller(rows: int) -> int:
    """Give the next smaller number of rows that makes up the same step; 0 where there is none."""
    return next((part for part in range(rows // 2, 0, -1) if rows % part == 0), 0)
