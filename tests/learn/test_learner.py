"""Roles, groups and loading: each parameter learns in exactly one way, or the recipe is refused."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from surefoot.errors import RecipeError, ShelfError
from surefoot.learn.advance import advance
from surefoot.learn.learner import Learner
from surefoot.model.parameters import Declared, initialise, parameter
from tests.learn.toy import OPTIM, Toy, batch, knobs, learner, toy


def test_each_parameter_is_in_exactly_one_group() -> None:
    made = learner()
    names = [name for group in made.groups for name in group.parameters]
    assert sorted(names) == sorted(dict(made.model.named_parameters()))
    assert len(names) == len(set(names))
    assert made.roles["matrix"] == [
        f"layers.{i}.{part}" for i in (0, 1) for part in ("pair", "out.weight")
    ]


def test_a_groups_optimiser_goes_by_role_and_never_by_shape() -> None:
    made = learner()
    muon = next(group for group in made.groups if group.role == "matrix").optimiser
    assert not [name for name in muon.parameters if "taps" in name or "embedding" in name]
    assert made.roles["filter"] == ["layers.0.taps", "layers.1.taps"]
    assert made.roles["embedding"] == ["embedding"]


def test_a_tied_head_belongs_to_the_embedding() -> None:
    model = toy()
    model.head = model.embedding
    made = learner(model)
    assert "head" not in made.roles
    assert made.roles["embedding"] == ["embedding"]


def test_a_parameter_without_a_role_is_refused_by_name() -> None:
    model = toy()
    model.layers[0].stray = nn.Parameter(torch.zeros(3))
    with pytest.raises(RecipeError, match=r"layers\.0\.stray.*Declare one of matrix"):
        learner(model)


def test_a_role_without_an_optimiser_is_refused() -> None:
    from surefoot.recipe.choice import options
    from surefoot.recipe.schema import Train

    chosen = {r: options("optimisers", t, "adam") for r, t in OPTIM.items() if r != "scalar"}
    with pytest.raises(RecipeError, match=r'optim\.scalar.*Write optim\.scalar\.kind="adam"'):
        Learner(toy(), chosen, Train())


def test_an_optimiser_that_does_not_serve_a_role_is_refused_with_those_that_do() -> None:
    with pytest.raises(RecipeError, match=r'optim\.embedding\.kind = "muon".*choices: adam'):
        learner(optim={"embedding": {"kind": "muon"}, "scalar": {"kind": "muon"}})
    try:
        learner(optim={"embedding": {"kind": "muon"}, "scalar": {"kind": "muon"}})
    except RecipeError as error:
        assert len(error.problems) == 2  # all at once


def test_a_slow_second_beta_is_refused_for_a_table() -> None:
    class Tabled(Toy):
        def __init__(self) -> None:
            super().__init__()
            parameter(self, "table", (5, 2), Declared("table", std=0.1))

    learner(Tabled(), {"table": {"kind": "adam"}})
    with pytest.raises(RecipeError, match=r"Write optim\.table\.betas=\[0\.9, 0\.95\]"):
        learner(Tabled(), {"table": {"kind": "adam", "betas": [0.9, 0.999]}})


def test_a_matrix_of_more_axes_is_refused_by_muon() -> None:
    model = toy()
    parameter(model, "cube", (2, 3, 4), Declared("matrix", std=0.1))
    initialise(model, 0)
    with pytest.raises(RecipeError, match=r"cube = shape \(2, 3, 4\).*Write optim\.matrix"):
        learner(model)


def test_a_saved_learner_goes_on_bit_for_bit() -> None:
    def trained(made: Learner, steps: range) -> Learner:
        for step in steps:
            advance(made, batch(step), knobs(step))
        return made

    whole = trained(learner(), range(1, 9))
    half = trained(learner(), range(1, 5))
    weights = {name: p.detach().clone() for name, p in half.parameters.items()}
    slots = {name: t.clone() for name, t in half.slots().items()}
    other = learner(toy(seed=5))
    other.load(weights, slots)
    trained(other, range(5, 9))
    for own, theirs in ((whole.parameters, other.parameters), (whole.slots(), other.slots())):
        assert all(torch.equal(own[name], theirs[name]) for name in own)


def missing(tensors: dict[str, torch.Tensor]) -> None:
    del tensors["layers.0.pair"]


def extra(tensors: dict[str, torch.Tensor]) -> None:
    tensors["layers.9.pair"] = torch.zeros(2)


def shape(tensors: dict[str, torch.Tensor]) -> None:
    tensors["layers.0.pair"] = torch.zeros(3, 3)


def dtype(tensors: dict[str, torch.Tensor]) -> None:
    tensors["layers.0.pair"] = tensors["layers.0.pair"].double()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (missing, r"layers\.0\.pair: missing"),
        (extra, r"layers\.9\.pair: not of this model"),
        (shape, r"layers\.0\.pair: saved float32 \[3, 3\], this model has float32 \[16, 8\]"),
        (dtype, r"layers\.0\.pair: saved float64 \[16, 8\], this model has float32"),
    ],
)
def test_tensors_that_do_not_fit_are_refused_and_nothing_is_loaded(
    damage: Callable[[dict[str, torch.Tensor]], None], said: str
) -> None:
    made, other = learner(), learner(toy(seed=3))
    before = {name: p.detach().clone() for name, p in made.parameters.items()}
    tensors = {name: p.detach().clone() for name, p in other.parameters.items()}
    damage(tensors)
    with pytest.raises(ShelfError, match=said):
        made.load(tensors)
    assert all(torch.equal(before[name], p) for name, p in made.parameters.items())


def test_slots_that_do_not_fit_are_refused_before_any_weight_changes() -> None:
    made, other = learner(), learner(toy(seed=3), {"scalar": {"kind": "adam"}})
    before = made.parameters["head"].detach().clone()
    slots = other.slots()
    slots.pop("head/step")
    with pytest.raises(ShelfError, match=r"head/step: missing\. Resume.*--init-from"):
        made.load(dict(other.parameters), slots)
    assert torch.equal(made.parameters["head"], before)


def test_compiling_is_on_for_a_gpu_only_unless_the_recipe_says() -> None:
    from surefoot.learn.learner import compiles

    assert compiles("auto", torch.device("cuda"))
    assert not compiles("auto", torch.device("cpu"))
    assert compiles(True, torch.device("cpu"))
    assert not compiles(False, torch.device("cuda"))
