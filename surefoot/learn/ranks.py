"""The ranks of a run: processes that train one model together, each on its share of every step.

The first rank decides and tells, the others hear. What they tell each other is JSON in tensors of
bytes: torch's object collectives unpickle what they are sent, and nothing is unpickled here.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from surefoot.errors import Problem, RunError
from surefoot.learn.learner import Learner
from surefoot.learn.reduction import Reduction
from surefoot.learn.share import Share

TOLD = re.compile(r"^\s*(\[[^\]]*\]\s*)*")  # the place in its own source that gloo begins with
Line = Literal["words", "steps", "saves"]  # a save's thread has one of its own
MEETING = timedelta(seconds=60)  # for ranks that are there to find each other
PATIENCE = timedelta(days=7)  # the first rank may read a corpus while the others wait for its word


class Ranks:
    """This process's place among all ranks, and its line to them; alone, it says all to itself."""

    def __init__(self, rank: int = 0, world: int = 1, local_rank: int = 0, start: str = "") -> None:
        self.rank, self.world, self.local_rank = rank, world, local_rank
        self.start = start  # the same for all ranks, and another one when they start again
        self.group: Any = None  # of the steps: hearing nothing for timeout_s is an error there
        self.beside: Any = None  # of sharded saves, which go on beside the steps
        self.parted = False  # another rank is gone or silent
        self.waits = False  # within something that all do together

    def meet(self) -> None:
        """Wait until all ranks are there."""
        if self.world == 1:
            return
        if torch.cuda.is_available():
            torch.cuda.set_device(self.local_rank)
        with self.together("the ranks were to meet"):
            store, _, _ = next(rendezvous("env://", timeout=MEETING))
            # a launcher keeps its store when it starts ranks again, and in it the addresses of the
            # dead: under a name of their own the living find only each other
            own = dist.PrefixStore(f"surefoot/{self.start}", store)  # pyright: ignore[reportPrivateImportUsage]
            dist.init_process_group(
                backend(), store=own, rank=self.rank, world_size=self.world, timeout=MEETING
            )
            dist.distributed_c10d._set_pg_timeout(PATIENCE, dist.group.WORLD)

    def part(self) -> None:
        """Let the others go."""
        if self.world > 1 and dist.is_initialized() and not self.parted:
            dist.destroy_process_group()

    def open(self, timeout_s: float) -> None:
        """Make the lines that steps and sharded saves go over; all ranks do it together."""
        with self.together("the ranks were to begin"):
            patience = timedelta(seconds=timeout_s)
            self.group = dist.new_group(backend=backend(), timeout=patience)
            self.beside = dist.new_group(backend="gloo", timeout=MEETING)
            dist.distributed_c10d._set_pg_timeout(PATIENCE, self.beside)  # disks are slow

    def join(self, learner: Learner, reduce: Literal["ring", "exact"], lanes: int) -> None:
        """Have a learner do this rank's share of each step, and sum with the others."""
        learner.share = Share(self.rank, self.world, lanes if reduce == "exact" else self.world)
        learner.rank = self.rank
        if self.world == 1:
            return
        total = Reduction(self.rank, self.world, self.group, reduce)

        def summed(learner: Learner, measured: Mapping[str, torch.Tensor]) -> Any:
            with self.together("a step's gradients were summed"):
                return total(learner, measured)

        learner.over_ranks = summed
        learner.among = self.passing
        learner.pool = self.gather

    def level(self, learner: Learner) -> None:
        """Give every rank the first one's weights and optimiser state."""
        if self.world == 1:
            return
        learner.wait_for_readers()
        with self.together("weights were handed out"):
            for tensor in (*learner.parameters.values(), *learner.slots().values()):
                dist.broadcast(tensor.data, 0, group=self.group)

    def hand_out(self, learner: Learner, held: Mapping[str, torch.Tensor] | None) -> None:
        """Give every rank its rows of whole tensors, which the first one has read."""
        names = list(held or ())
        if self.rank:
            names = self.hear()["names"]
        else:
            self.say({"names": names})
        learner.wait_for_readers()
        own = learner.parameters | learner.slots()
        forms = learner.forms(own)
        with self.together("weights were handed out"):
            for name in names:  # one at a time: no other rank has room for all
                whole = torch.empty_like(forms[name], device=learner.device)
                if held is not None:
                    whole.copy_(held[name].detach())
                dist.broadcast(whole, 0, group=self.group)
                learner.take(own[name], whole)

    def whole(self, learner: Learner) -> dict[str, torch.Tensor]:
        """Give sharded weights whole, to the first rank alone; the others only take part."""
        assert learner.shards is not None, "these weights are whole"
        found: dict[str, torch.Tensor] = {}
        with self.together("weights were gathered"):
            for name, own in learner.parameters.items():
                whole = learner.shards.gathered(name, own.detach())
                if self.rank == 0:
                    found[name] = whole
        return found

    def say(self, word: Mapping[str, Any]) -> None:
        """Tell all others something; only the first rank does."""
        if self.world == 1 or self.parted:
            return
        text = json.dumps(word).encode()
        with self.together("the first rank spoke"):
            dist.broadcast(torch.tensor([len(text)]), 0)
            dist.broadcast(bytes_of(text), 0)

    def hear(self) -> dict[str, Any]:
        """Wait for what the first rank says next."""
        size = torch.zeros(1, dtype=torch.int64)
        with self.together("the first rank was to speak"):
            dist.broadcast(size, 0)
            text = torch.zeros(int(size), dtype=torch.uint8)
            dist.broadcast(text, 0)
        return json.loads(bytes(text.tolist()))

    def gather(self, told: Mapping[str, Any], over: Line = "steps") -> list[dict[str, Any]]:
        """Give every rank what each of them tells, by rank."""
        if self.world == 1:
            return [dict(told)]
        lines = {"words": None, "steps": self.group, "saves": self.beside}
        text, group = json.dumps(told).encode(), lines[over]
        with self.together("the ranks compared notes"):
            longest = torch.tensor([len(text)])
            dist.all_reduce(longest, dist.ReduceOp.MAX, group=group)
            own = bytes_of(text.ljust(int(longest)))
            texts = [torch.zeros_like(own) for _ in range(self.world)]
            dist.all_gather(texts, own, group=group)
        return [json.loads(bytes(text.tolist())) for text in texts]

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Do so where ranks gather weights within a pass; other errors of a pass are its own."""
        try:
            yield
        except RuntimeError as error:
            if not (isinstance(error, dist.DistError) or "gloo" in str(error)):
                raise
            with self.together("weights were gathered"):
                raise

    @contextmanager
    def together(self, what: str) -> Iterator[None]:
        """Turn another rank's end into a sentence."""
        self.waits = True
        try:
            yield
        except RuntimeError as error:
            self.parted = True
            said = TOLD.sub("", str(error)).splitlines()[0].split(". ")[0]
            raise RunError(
                Problem(
                    what=f"rank {self.rank} of {self.world}",
                    value="",
                    why=f"another rank ended or fell silent while {what} ({said})",
                    instead="What is saved stands: start all ranks again with the same command and "
                    "--run (torchrun --max-restarts 3 does it by itself)",
                ),
                exit=1,
            ) from None
        finally:
            self.waits = False


def backend() -> str:
    """Name torch's backends: words go over the CPU, so that they never wait for a device."""
    return "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"


def bytes_of(text: bytes) -> torch.Tensor:
    """Give bytes as a tensor."""
    return torch.frombuffer(bytearray(text), dtype=torch.uint8)
