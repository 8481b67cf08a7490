"""Memory that runs out within a step: a sentence with numbers, and a learner that can go on."""

import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from surefoot.learn.advance import advance
from surefoot.learn.learner import Learner
from surefoot.learn.oom import OutOfMemory, smaller
from surefoot.model.batch import Batch
from tests.learn.toy import batch, knobs, learner

CUDA = "CUDA out of memory. Tried to allocate 512.00 MiB. GPU 0 has a total capacity of 9.31 GiB"
CPU = "[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory: you tried to"


class FailsBackward(torch.autograd.Function):
    """Passes a number on; there is no memory for the way back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        raise torch.OutOfMemoryError(CUDA)


def short_of(made: Learner, most: int, change: Callable[[Tensor], Tensor]) -> None:
    """Let memory run out where more rows than these go through at once."""
    sound = made.loss

    def tight(given: Batch, *rest: Any) -> Any:
        loss, stats = sound(given, *rest)
        return (change(loss) if len(given.tokens) > most else loss), stats

    made.loss = tight


def no_memory(loss: Tensor) -> Tensor:
    raise RuntimeError(CPU)


@pytest.mark.parametrize(
    ("change", "during"), [(no_memory, "forward"), (FailsBackward.apply, "backward")]
)
def test_the_sentence_has_the_place_and_numbers_to_paste(change: Any, during: str) -> None:
    made = learner(batch=12, accumulate=16)
    short_of(made, 6, change)
    with pytest.raises(OutOfMemory) as told:
        advance(made, batch(1, rows=12), knobs(7))
    said = str(told.value)
    assert f"out of memory at step 7 in {during}: " in said
    assert "train.batch=6 train.accumulate=32 (same 192 rows)" in said
    assert "train.grad_checkpointing=true" in said
    assert ("512.00 MiB asked for" in said) == (during == "backward")
    assert (told.value.exit, told.value.whole) == (1, True)
    assert not made.gradients()


def test_the_same_step_goes_through_with_fewer_rows_at_once() -> None:
    made, twin = learner(batch=4, clip=0.0), learner(batch=2, clip=0.0)
    short_of(made, 2, FailsBackward.apply)
    given = batch(1, rows=8)
    with pytest.raises(OutOfMemory):
        advance(made, given, knobs(1))
    made.micro_rows = 2
    told, alone = advance(made, given, knobs(1)), advance(twin, given, knobs(1))
    assert (told.loss, told.grad_norm) == (alone.loss, alone.grad_norm)
    for name, parameter in made.parameters.items():
        assert torch.equal(parameter, twin.parameters[name])


def test_the_failed_pass_keeps_no_activations_alive() -> None:
    """On a GPU they would be what the next try has no room for."""
    made = learner(batch=4)
    kept: list[Any] = []

    def held(loss: Tensor) -> Tensor:
        activation = torch.ones(8) * loss
        kept.append(weakref.ref(activation))
        raise torch.OutOfMemoryError(CUDA)

    short_of(made, 2, held)
    with pytest.raises(OutOfMemory):
        advance(made, batch(1, rows=4), knobs(1))
    assert kept[0]() is None


def test_an_update_that_was_cut_short_says_that_the_weights_are_not_whole() -> None:
    made = learner()

    def tight(lr: float, momentum: float) -> float:
        raise torch.OutOfMemoryError(CUDA)

    made.groups[1].optimiser.update = tight
    with pytest.raises(OutOfMemory, match="in the update") as told:
        advance(made, batch(), knobs(3))
    assert not told.value.whole


def test_other_errors_stay_what_they_are() -> None:
    made = learner()
    made.loss = lambda *given: torch.zeros(2) @ torch.zeros(3)  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(RuntimeError, match="size"):
        advance(made, batch(), knobs(1))


@pytest.mark.parametrize(("rows", "next_rows"), [(12, 6), (9, 3), (7, 1), (2, 1), (1, 0)])
def test_parts_become_smaller_and_make_up_the_same_step(rows: int, next_rows: int) -> None:
    assert smaller(rows) == next_rows
