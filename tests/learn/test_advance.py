"""One step: its order, its one look at the numbers, and what it reports."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from surefoot.learn.advance import advance
from surefoot.learn.learner import Learner
from surefoot.model.batch import IGNORED, Batch
from tests.learn.toy import batch, knobs, learner, toy

Advance = Callable[..., Any]


def state(made: Learner) -> dict[str, Tensor]:
    """Copy all that a step may change."""
    return {n: t.detach().clone() for n, t in {**made.parameters, **made.slots()}.items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


class Fault:
    """Makes one step's loss, one gradient element, or the gradient's norm not finite."""

    def __init__(self, made: Learner, where: str, value: float) -> None:
        self.made, self.where, self.value = made, where, value
        self.armed = False

    def __call__(self, gradients: Sequence[Tensor]) -> None:
        if not self.armed:
            return
        if self.where == "gradient":
            gradients[2].view(-1)[3] = self.value
        if self.where == "norm":  # each element is finite, their squares' sum is not
            gradients[0].fill_(3e38)


def faulty_run(where: str, value: float, step_function: Advance = advance) -> list[bool]:
    """Train over a fault at update 7, and without batch 7; tells what was equal."""
    model = toy()
    made, twin = learner(model), learner()
    made.reduce = Fault(made, where, value)
    verdicts: list[bool] = []
    for step in range(1, 11):
        bad = step == 7
        made.reduce.armed = bad
        if bad and where == "loss":
            model.spoilt_at = {batch(step).position: value}
        told = step_function(made, batch(step), knobs(step))
        verdicts.append(told.skipped == bad)
        if not bad:
            step_function(twin, batch(step), knobs(step))
        verdicts.append(same(state(made), state(twin)))
    return verdicts


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", ["loss", "gradient", "norm"])
def test_a_step_that_is_not_finite_touches_nothing(where: str, value: float) -> None:
    assert all(faulty_run(where, value))


def test_a_step_that_updates_before_it_looks_is_found() -> None:
    def mutant(made: Learner, given: Batch, at: Any, **more: Any) -> Any:
        kept, made.reduce = made.reduce, None

        def reduce(gradients: Sequence[Tensor]) -> None:
            if kept is not None:
                kept(gradients)
            copies = [g.clone() for g in gradients]
            for group in made.groups:  # the planted fault: the update comes first
                group.optimiser.update(at.lr[group.role], at.momentum)
            for g, copy in zip(gradients, copies, strict=True):
                g.copy_(copy)

        made.reduce = reduce
        told = advance(made, given, at, **more)
        made.reduce = kept
        return told

    assert not all(faulty_run("gradient", math.nan, mutant))


def test_a_skipped_step_says_where_the_number_was_and_holds_no_gradient() -> None:
    model = toy()
    made = learner(model)
    model.spoilt_at = {0: math.nan}
    told = advance(made, batch(), knobs())
    assert told.skipped
    assert math.isnan(told.loss)
    assert told.nonfinite == {"loss": 1}
    assert told.update_s is None
    assert not made.gradients()

    model.spoilt_at = {}
    made.reduce = Fault(made, "gradient", math.nan)
    made.reduce.armed = True
    told = advance(made, batch(), knobs())
    name = list(made.parameters)[2]
    assert told.nonfinite == {name: 1, "grad_norm": 1}
    made.reduce = None
    assert not advance(made, batch(), knobs()).skipped


def test_a_batch_without_a_target_is_skipped() -> None:
    made = learner()
    before = state(made)
    empty = batch()
    empty.targets.fill_(IGNORED)
    told = advance(
        made, Batch(tokens=empty.tokens, targets=empty.targets, hash="x", valid=0), knobs()
    )
    assert told.skipped
    assert told.valid_tokens == 0
    assert same(before, state(made))


def test_all_groups_are_clipped_by_their_one_common_norm() -> None:
    made = learner(clip=0.01)
    seen: dict[str, Tensor] = {}
    free = learner(clip=0.0)

    def keep(gradients: Sequence[Tensor]) -> None:
        seen.update({name: g.clone() for name, g in free.gradients().items()})

    free.reduce = keep
    reference = advance(free, batch(), knobs())
    norm = math.sqrt(sum(float(g.double().square().sum()) for g in seen.values()))
    assert reference.grad_norm == pytest.approx(norm, rel=1e-6)
    assert not reference.clipped

    got: dict[str, Tensor] = {}
    for group in made.groups:
        real = group.optimiser.update

        def spy(lr: float, momentum: float, group: Any = group, real: Any = real) -> None:
            got.update({n: p.grad.clone() for n, p in group.parameters.items()})
            real(lr, momentum)

        group.optimiser.update = spy
    told = advance(made, batch(), knobs())
    assert told.clipped
    assert told.grad_norm == pytest.approx(norm, rel=1e-6)  # as it was before clipping
    assert len({group.role for group in made.groups}) >= 3
    for name, gradient in seen.items():
        torch.testing.assert_close(got[name], gradient * (0.01 / (norm + 1e-6)))


def test_a_gradient_below_the_limit_is_left_alone() -> None:
    assert not advance(learner(clip=1e6), batch(), knobs()).clipped


def accumulated(step_function: Advance) -> float:
    """Learn once from 6 rows in micro-batches of 6, 2 and 1; gives how far the weights differ."""
    results: list[dict[str, Tensor]] = []
    told: list[Any] = []
    for rows in (6, 2, 1):
        adam = {"matrix": {"kind": "adam", "eps": 1e-3}, "embedding": {"kind": "adam", "eps": 1e-3}}
        made = learner(toy().double(), adam, batch=rows, clip=0.0)
        given = batch(3, rows=6, ignored=5)  # the first row has 1 target, the others 6
        kept: list[Tensor] = []
        made.reduce = lambda gradients, kept=kept: kept.extend(g.clone() for g in gradients)
        told.append(step_function(made, given, knobs(3), probe=True))
        results.append(dict(zip(made.parameters, kept, strict=True)))
    worst = max(abs(t.loss - told[0].loss) for t in told)
    for other in results[1:]:
        for name, gradient in results[0].items():
            worst = max(worst, float((gradient - other[name]).abs().max()))
    return worst


def test_micro_batches_of_unequal_targets_equal_one_big_batch() -> None:
    assert accumulated(advance) < 1e-7  # norms compute in fp32, all else in fp64


def test_a_mean_over_micro_batches_is_found() -> None:
    def mutant(made: Learner, given: Batch, at: Any, **more: Any) -> Any:
        count = len(list(given.micro(made.micro_rows)))
        real = made.loss

        def each_by_itself(micro: Batch, values: Any, valid: int, probe: bool) -> Any:
            own = int((micro.targets != IGNORED).sum()) * count
            return real(micro, values, own, probe)

        made.loss = each_by_itself
        return advance(made, given, at, **more)

    assert accumulated(mutant) > 1e-3


def test_statistics_are_means_over_all_micro_batches_and_maxima_of_maxima() -> None:
    whole = advance(learner(batch=6), batch(3, rows=6, ignored=5), knobs(3), probe=True)
    parts = advance(learner(batch=1), batch(3, rows=6, ignored=5), knobs(3), probe=True)
    assert parts.ce == pytest.approx(whole.ce, rel=1e-6)
    assert parts.logit_max == pytest.approx(whole.logit_max, rel=1e-6)
    assert parts.layer_out_rms == pytest.approx(whole.layer_out_rms, rel=0.1)


def test_the_lr_in_a_step_is_the_one_its_optimiser_got() -> None:
    made = learner()
    got: dict[str, tuple[float, float]] = {}
    for group in made.groups:
        real = group.optimiser.update

        def spy(lr: float, momentum: float, role: str = group.role, real: Any = real) -> float:
            got[role] = (lr, momentum)
            return real(lr, momentum)

        group.optimiser.update = spy
    for step in range(1, 4):
        at = knobs(step, lr=0.01 / step, momentum=0.8 + step / 100, head=0.001 * step)
        told = advance(made, batch(step), at)
        assert told.lr == {role: lr for role, (lr, _) in got.items()}
        assert {momentum for _, momentum in got.values()} == {at.momentum}
        assert told.lr["head"] == 0.001 * step
        assert told.knobs == at.values
    assert set(got) == {"matrix", "embedding", "head", "filter", "scalar"}


def test_a_step_says_where_it_stands_and_how_long_its_parts_took() -> None:
    told = advance(learner(), batch(5), knobs(5), generation=2, tokens=120)
    assert (told.step, told.generation, told.tokens, told.position) == (5, 2, 120, 16)
    assert told.batch_hash == f"{5:016x}"
    assert told.valid_tokens == 24
    assert told.forward_s is not None
    assert min(told.forward_s, told.backward_s or 0, told.update_s or 0) > 0
    assert told.update_ratio is None
    assert told.layer_grad_norm is None


def test_a_probe_step_measures_layers_and_sizes_of_updates() -> None:
    plain, made = learner(), learner()
    advance(plain, batch(), knobs())
    before = state(made)
    told = advance(made, batch(), knobs(), probe=True)
    assert same(state(plain), state(made))  # looking changes nothing
    after = state(made)
    for group in made.groups:
        moved = math.sqrt(
            sum(float((after[n] - before[n]).square().sum()) for n in group.parameters)
        )
        size = math.sqrt(sum(float(before[n].square().sum()) for n in group.parameters))
        assert told.update_ratio[group.role] == pytest.approx(moved / size, rel=1e-4)
    assert len(told.layer_grad_norm) == 2
    assert len(told.layer_out_rms) == 2
    assert sum(norm**2 for norm in told.layer_grad_norm) < told.grad_norm**2


def test_the_gradients_are_freed_with_the_update() -> None:
    made = learner()
    advance(made, batch(), knobs())
    assert not made.gradients()


def test_random_parts_of_a_model_draw_the_same_numbers_again() -> None:
    told = []
    for noise in (1, 2):
        made = learner(toy(dropout=0.5), batch=2)
        torch.manual_seed(noise)
        told.append([advance(made, batch(step), knobs(step)).loss for step in range(1, 4)])
    assert told[0] == told[1]
    assert learner(toy(dropout=0.5), seed=1).random
    other = advance(learner(toy(dropout=0.5), batch=2, seed=1), batch(1), knobs(1))
    assert other.loss != told[0][0]


def test_a_model_without_random_parts_leaves_torchs_generator_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    advance(learner(), batch(), knobs())
    assert torch.equal(before, torch.get_rng_state())


def decay_reaches_scalars(optim: dict[str, dict[str, Any]]) -> bool:
    """Train with decay on matrices; tells whether a scalar without a gradient moves."""
    model = toy()
    made = learner(model, optim, clip=0.0)
    made.reduce = lambda gradients: [g.zero_() for g in gradients] and None
    before = state(made)
    advance(made, batch(), knobs(lr=0.1))
    after = state(made)
    assert not torch.equal(before["layers.0.pair"], after["layers.0.pair"])
    return not torch.equal(before["layers.0.norm.weight"], after["layers.0.norm.weight"])


def test_decay_of_matrices_never_reaches_scalars() -> None:
    assert not decay_reaches_scalars({"matrix": {"kind": "muon", "weight_decay": 0.1}})


def test_a_decay_on_scalars_is_found() -> None:
    planted = {
        "matrix": {"kind": "muon", "weight_decay": 0.1},
        "scalar": {"kind": "adam", "weight_decay": 0.1},
    }
    assert decay_reaches_scalars(planted)
