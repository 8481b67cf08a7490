"""How sure the audit is: no false alarm over many seeds, and each probe's power and holes."""

import itertools
import time
from dataclasses import replace

import pytest
import torch

from surefoot import kinds
from surefoot.audit.audit import audit_module, audit_recipe, quick
from surefoot.audit.case import Case
from surefoot.audit.foreign import taken
from surefoot.audit.pipeline import Pipeline
from surefoot.audit.probes import canary, jacobian, perturbation
from surefoot.audit.reduced import reduced
from surefoot.audit.shake import shake
from surefoot.audit.stages import each, of_recipe
from surefoot.audit.subject import cuts_of
from surefoot.recipe.schema import Recipe
from tests.audit import matrix
from tests.audit.zoo import causal, leaky, pipelines
from tests.audit.zoo.stack import DIM, Layer, Stack
from tests.house_rules import ROOT

RECIPES = sorted(path.stem for path in (ROOT / "surefoot/recipes").glob("*.toml"))
MIXERS = kinds.own("mixers")


@pytest.mark.parametrize(
    ("cells", "ahead"),
    [(256, 8), (512, 3), (1000, 2), (1023, 1), (1024, 0), (1025, 1), (2047, 0)],
)
def test_the_fields_grid_looks_as_far_ahead_as_arithmetic_says(cells: int, ahead: int) -> None:
    field = leaky.Field()
    field.cells = cells
    seen = field(torch.eye(1024, dtype=torch.float64).unsqueeze(-1)).squeeze(-1).T  # it is linear
    places = torch.nonzero(seen.triu(1).abs() > 1e-12)
    assert (int((places[:, 1] - places[:, 0]).max()) if len(places) else 0) == ahead


def test_the_map_shows_the_triangle_that_leaks() -> None:
    subject = taken(leaky.model("off-by-one mask"), length=61).subject
    shake(subject.module, 0)
    (found,) = jacobian.probe(Case(subject, 61, cuts_of(61)))
    assert len(found.drawn) == 37 and all(len(line) == 37 for line in found.drawn)
    assert (found.ahead, found.first) == (1, 0)
    for t, line in enumerate(found.drawn[:-1]):
        assert line[: t + 2] == "#" * (t + 1) + "!" and set(line[t + 2 :]) <= {"."}


def test_a_single_row_is_not_taken_for_time() -> None:
    verdict = audit_module(leaky.model("batch mean"), length=61)
    assert not any("tokens ahead" in leak for leak in verdict.leaks)


@pytest.mark.slow
def test_as_initialised_most_leaks_are_hidden() -> None:
    hidden = []
    for name in leaky.MIXERS:
        subject = taken(leaky.model(name)).subject
        found = list(perturbation.probe(Case(subject, 127, cuts_of(127))))
        if not any(m.value > 0 for m in found):
            hidden.append(name)
    assert len(hidden) >= 7, "shaking would not be needed"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_unshifted_labels_are_learnt_within_30_steps(seed: int) -> None:
    _, pipeline = pipelines.broken("unshifted labels")
    seeded = with_seed(pipeline.recipe, seed)
    below, step = canary.fall(Pipeline(seeded, pipeline.builder), 8)
    assert below > 0 and step <= 30


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_what_nobody_can_predict_is_not_predicted(seed: int) -> None:
    small = reduced(pipelines.recipe(("starter", "windowed-tiny")[seed % 2]))
    assert canary.fall(Pipeline(with_seed(small, seed)), 8) == (0.0, 150)


def with_seed(recipe: Recipe, seed: int) -> Recipe:
    return recipe.model_copy(update={"train": recipe.train.model_copy(update={"seed": seed})})


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_a_shipped_recipe_passes(name: str) -> None:
    verdict = audit_recipe(pipelines.recipe(name))
    assert verdict.clean, [*verdict.leaks, *verdict.defects]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("kind", MIXERS)
def test_no_mixer_is_accused_at_any_seed_in_either_precision(kind: str, seed: int) -> None:
    for options in kinds.find("mixers", kind).examples():
        told = options.model_dump().items()
        given = {f"model.mixers.L.{k}": 7 if isinstance(v, dict) else v for k, v in told}
        small = reduced(with_seed(pipelines.recipe("starter", **given), seed))
        for dtype, scale in itertools.product(("float64", "float32"), (None, 1.0, 100.0)):
            subject = of_recipe(small, scale, 1, dtype)
            case = Case(subject, 61, cuts_of(61))
            for probe in each():
                for m in kinds.find("probes", probe).probe(case):
                    assert replace(m, dtype=dtype).verdict == "clean", (m, dtype, scale)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_no_causal_model_is_accused_at_any_seed(seed: int) -> None:
    for name in causal.MIXERS:
        torch.manual_seed(seed)
        verdict = audit_module(Stack(causal.MIXERS[name]()), length=37)
        assert verdict.clean, (name, verdict.leaks, verdict.defects)


LARGE = {
    "model.dim": 256, "model.layers": 8, "model.vocab": 4096, "model.ffn.width": 704,
}  # fmt: skip


@pytest.mark.slow
def test_eight_layers_of_256_take_less_than_ten_seconds_and_the_quick_form_three() -> None:
    large = pipelines.recipe(**LARGE)
    spent: dict[str, list[float]] = {"whole": [], "quick": []}
    for _ in range(3):
        for name, audit in (("whole", audit_recipe), ("quick", quick)):
            began = time.process_time()
            audit(large)
            spent[name].append(time.process_time() - began)
    assert min(spent["whole"]) < 10  # the least disturbed of three
    assert min(spent["quick"]) < 3


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.soak if i % 3 else pytest.mark.slow)
        for i, name in enumerate([*leaky.NAMES, *pipelines.NAMES])
    ],
)
def test_the_printed_matrix_is_what_the_probes_find(name: str) -> None:
    assert matrix.row(name, matrix.verdict(name)) in matrix.stored()


def test_the_printed_matrix_has_every_leak_and_each_is_found_by_a_probe() -> None:
    rows = {line.split("|")[1].strip(): line.split("|")[2:-2] for line in matrix.stored()[2:]}
    assert list(rows) == [*leaky.NAMES, *pipelines.NAMES]
    assert all(any("●" in mark for mark in marks) for marks in rows.values())


def test_a_leak_in_the_floats_of_a_part_is_found() -> None:
    part = torch.nn.Sequential(Layer(leaky.LowPass()), torch.nn.Linear(DIM, DIM))
    verdict = audit_module(part, length=61, reads="floats")
    assert verdict.leaks == [leak for leak in verdict.leaks if leak.startswith("0.mixer (LowPass)")]
    assert verdict.state == "leak"
