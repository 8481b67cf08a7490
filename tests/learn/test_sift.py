"""A step that is not finite, done again without the micro-batches that made it so."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from surefoot.learn import sift
from surefoot.learn.advance import advance
from surefoot.learn.collect import collect
from surefoot.learn.laps import Laps
from surefoot.learn.learner import Learner
from surefoot.model.batch import IGNORED, Batch
from tests.learn.toy import batch, knobs, learner, toy

ROWS, PART = 8, 2  # of a step, of a micro-batch: four of them


class SpoilsGradients(torch.autograd.Function):
    """Passes a number on, and a NaN back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0] * math.nan


def state(made: Learner) -> dict[str, Tensor]:
    return {n: t.detach().clone() for n, t in {**made.parameters, **made.slots()}.items()}


def check_same(one: Learner, other: Learner) -> None:
    mine, theirs = state(one), state(other)
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def without(given: Batch, micro: int) -> Batch:
    """Cut a micro-batch out of a step: as if it had never been."""
    rows = [row for row in range(len(given.tokens)) if row // PART != micro]
    targets = given.targets[rows]
    valid = int((targets != IGNORED).sum())
    return replace(given, tokens=given.tokens[rows], targets=targets, valid=valid)


def at_position(made: Learner, position: int, change: Callable[[Tensor], Tensor]) -> None:
    """Change the loss of the micro-batch that is read at a position, each time."""
    sound = made.loss

    def spoilt(given: Batch, *rest: Any) -> Any:
        loss, stats = sound(given, *rest)
        return (change(loss) if given.position == position else loss), stats

    made.loss = spoilt


FAULTS: dict[str, Callable[[Tensor], Tensor]] = {
    "nan loss": lambda loss: loss * math.nan,
    "inf loss": lambda loss: loss + math.inf,
    "nan gradient": SpoilsGradients.apply,
}


@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("fault", FAULTS)
def test_weights_are_those_of_a_step_that_never_had_the_micro_batch(
    fault: str, dropout: float
) -> None:
    """The last of four is bad: no other random numbers are drawn without it."""
    made, twin = (learner(toy(dropout=dropout), batch=PART) for _ in range(2))
    for step in range(1, 6):
        given = batch(step, rows=ROWS, ignored=4)
        if step == 3:
            at_position(made, given.position + 3 * PART, FAULTS[fault])
        told = advance(made, given, knobs(step))
        alone = advance(twin, without(given, 3) if step == 3 else given, knobs(step))
        check_same(made, twin)
        assert (told.loss, told.ce, told.grad_norm) == (alone.loss, alone.ce, alone.grad_norm)
        assert told.valid_tokens == alone.valid_tokens
        assert not told.skipped
        assert bool(told.skipped_micro) == (step == 3)
        assert told.transient is None


def test_what_is_left_is_divided_by_its_own_targets() -> None:
    """A micro-batch in the middle is left out; the gradient is the mean over what is valid."""
    given = batch(1, rows=ROWS, ignored=5)
    seen: list[dict[str, Tensor]] = []
    for rows, spoil in ((PART, True), (ROWS, False)):
        adam = {"matrix": {"kind": "adam"}}
        made = learner(toy().double(), adam, batch=rows, clip=0.0)
        if spoil:
            at_position(made, given.position + PART, FAULTS["nan loss"])
        made.reduce = lambda gradients, made=made: seen.append(
            {name: one.clone() for name, one in made.gradients().items()}
        )
        told = advance(made, given if spoil else without(given, 1), knobs(1))
    first, again, oracle = seen
    assert not all(bool(one.isfinite().all()) for one in first.values())
    assert again.keys() == oracle.keys()
    for name, gradient in oracle.items():
        torch.testing.assert_close(again[name], gradient, rtol=1e-6, atol=1e-12)
    assert told.valid_tokens == (ROWS - PART) * 6 - 5


def test_those_that_are_left_keep_their_own_random_numbers() -> None:
    """The second of four is bad: the third draws what a third one draws."""
    made, twin = (learner(toy(dropout=0.5), batch=PART, clip=0.0) for _ in range(2))
    given = batch(1, rows=ROWS)
    at_position(made, PART, FAULTS["nan loss"])
    seen: list[dict[str, Tensor]] = []
    made.reduce = lambda gradients: seen.append(
        {name: one.clone() for name, one in made.gradients().items()}
    )
    advance(made, given, knobs(1))
    left = [micro for micro in enumerate(given.micro(PART)) if micro[0] != 1]
    collect(twin, left, knobs(1), (ROWS - PART) * 6, False, Laps(twin.device))
    assert seen[-1].keys() == twin.gradients().keys()
    assert all(torch.equal(seen[-1][name], one) for name, one in twin.gradients().items())


def test_a_step_says_which_micro_batch_where_and_why() -> None:
    made = learner(batch=PART)
    at_position(made, 2 * PART, FAULTS["nan gradient"])
    told = advance(made, batch(1, rows=ROWS), knobs(1))
    assert told.skipped_micro is not None
    [one] = told.skipped_micro
    assert {name: one[name] for name in ("rank", "micro", "of", "positions", "what")} == {
        "rank": 0, "micro": 2, "of": 4, "positions": [4, 6], "what": "gradient",
    }  # fmt: skip
    assert one["layer"] == "layers.1.out"  # the last parameter in the toy's own order
    assert told.nonfinite["grad_norm"] == 1
    assert told.nonfinite["head"] > 1
    assert math.isfinite(told.loss)


def test_the_first_layer_whose_output_is_not_finite_is_named() -> None:
    model = toy()
    made = learner(model, batch=PART)
    out: Any = model.layers[1].out
    sound = out.forward

    def forward(x: Tensor) -> Tensor:
        y = sound(x)
        return y / 0.0 if torch.equal(seen[0].tokens, bad) else y

    seen: list[Batch] = []
    given = batch(1, rows=ROWS)
    bad = given.tokens[:PART]
    whole = model.loss

    def loss(micro: Batch, *rest: Any) -> Any:
        seen[:] = [micro]
        return whole(micro, *rest)

    model.loss = made.loss = loss  # pyright: ignore[reportAttributeAccessIssue]
    out.forward = forward
    told = advance(made, given, knobs(1))
    assert told.skipped_micro is not None
    assert [one["layer"] for one in told.skipped_micro] == ["layers.1.out"]
    assert not any(module._forward_hooks for module in model.modules())


def test_no_valid_target_left_skips_the_whole_step() -> None:
    made, before = learner(batch=PART), state(learner(batch=PART))
    given = batch(1, rows=ROWS)
    given.targets[PART:] = IGNORED  # the first micro-batch alone has any
    at_position(made, 0, FAULTS["nan loss"])
    told = advance(made, replace(given, valid=0), knobs(1))
    assert told.skipped
    assert told.skipped_micro is not None and len(told.skipped_micro) == 1
    assert told.nonfinite == {"loss": 1}
    assert all(torch.equal(before[name], one) for name, one in state(made).items())
    assert not made.gradients()


def test_a_number_that_is_gone_when_done_again_is_the_machines() -> None:
    model = toy()
    made, twin = learner(model, batch=PART), learner(batch=PART)
    model.spoil = {2: math.nan}  # the third call, and no other
    told = advance(made, batch(1, rows=ROWS), knobs(1))
    alone = advance(twin, batch(1, rows=ROWS), knobs(1))
    check_same(made, twin)
    assert (told.transient, told.skipped, told.skipped_micro) == ([0], False, None)
    assert (told.loss, told.nonfinite) == (alone.loss, {})


def test_parts_that_are_finite_and_whose_sum_is_not_skip_the_whole_step() -> None:
    made, before = learner(batch=PART), state(learner(batch=PART))

    def overflow(gradients: Sequence[Tensor]) -> None:
        gradients[0].fill_(3e38)  # each is finite, the sum of their squares is not

    made.reduce = overflow
    told = advance(made, batch(1, rows=ROWS), knobs(1))
    assert told.skipped
    assert told.transient is None
    assert told.nonfinite == {"grad_norm": 1}
    assert all(torch.equal(before[name], one) for name, one in state(made).items())


def test_a_healthy_step_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    sound = Tensor.tolist
    monkeypatch.setattr(Tensor, "tolist", lambda self: (reads.append(1), sound(self))[1])
    monkeypatch.setattr(Tensor, "item", lambda self: reads.append(2))
    monkeypatch.setattr(Tensor, "__float__", lambda self: reads.append(3))
    monkeypatch.setattr(sift, "sift", None)
    advance(learner(batch=PART), batch(1, rows=ROWS), knobs(1))
    assert reads == [1]


def test_a_long_list_of_bad_micro_batches_still_fits_a_line() -> None:
    made = learner(batch=1)
    sound = made.loss

    def spoilt(*given: Any) -> Any:
        loss, stats = sound(*given)
        return loss * math.nan, stats

    made.loss = spoilt
    told = advance(made, batch(1, rows=80, time=2), knobs(1))
    assert told.skipped_micro is not None
    assert len(told.skipped_micro) == sift.LISTED
    assert told.nonfinite == {"loss": 80}


def test_outputs_of_any_shape_are_looked_into() -> None:
    bad = torch.tensor([math.nan])
    assert len(list(sift.inside((bad, [bad, torch.tensor([1])], None, nn.Identity())))) == 2
