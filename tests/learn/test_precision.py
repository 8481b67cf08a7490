"""Which arithmetic a forward pass gets, over which weights."""

import pytest
import torch

from surefoot.learn import precision
from surefoot.learn.advance import advance
from tests.learn.toy import batch, knobs, learner, toy

CPU = torch.device("cpu")


def test_auto_is_fp32_on_a_cpu() -> None:
    assert precision.resolved("auto", CPU) == "fp32"
    assert precision.resolved("bf16", CPU) == "bf16"


@pytest.mark.parametrize("policy", ["fp32", "bf16", "bf16_pure"])
def test_masters_are_fp32_but_for_the_pure_policy(policy: str) -> None:
    dtypes: set[torch.dtype] = set()
    model = toy()
    model.layers[0].out.register_forward_hook(lambda m, i, out: dtypes.add(out.dtype))
    made = learner(model, precision=policy)
    told = advance(made, batch(), knobs(), probe=True)
    assert not told.skipped
    masters = {p.dtype for p in made.parameters.values()}
    assert masters == {torch.bfloat16 if policy == "bf16_pure" else torch.float32}
    assert dtypes == {torch.float32 if policy == "fp32" else torch.bfloat16}


def test_bf16_autocast_trains_near_fp32() -> None:
    losses = []
    for policy in ("fp32", "bf16"):
        made = learner(toy(), precision=policy)
        losses.append([advance(made, batch(1), knobs(step)).loss for step in range(1, 21)])
    assert losses[0][-1] < losses[0][0] - 0.3
    assert losses[1][-1] == pytest.approx(losses[0][-1], abs=0.05)
