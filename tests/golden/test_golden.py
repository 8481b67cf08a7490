"""No curve and no default moves unseen; `make golden` writes them anew, CHANGELOG.md says why."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.golden.curves import GOLDEN, STEPS, curve, siblings, stored
from tests.golden.schema import frozen

# Steps after which instruction sets begin to tell: on a CPU with AVX2 and one with matrix units
# `starter` differed by 6e-6 until step 12, by 2e-5 at step 13 and by 3e-4 at step 49.
ALIKE = 10


def near(a: float, b: float, relative: float) -> bool:
    """Say whether two numbers are the same to so many parts."""
    return abs(a - b) <= relative * max(abs(a), abs(b))


def flat(value: Any) -> list[float]:
    """Give a knob's values, one or one a layer."""
    return value if isinstance(value, list) else [value]


def check_curve(told: dict[str, Any], kept: dict[str, Any]) -> None:
    """Compare a curve to the stored one: 1e-5 at first, 1e-3 to the end; the plan to 1e-12."""
    assert len(told["steps"]) == len(kept["steps"]) == STEPS
    for new, old in zip(told["steps"], kept["steps"], strict=True):
        bound = 1e-5 if new["step"] <= ALIKE else 1e-3
        for key in ("loss", "ce", "grad_norm"):
            where = f"step {new['step']}: {key} {new[key]!r}, stored {old[key]!r}"
            # a gradient's norm moves an order more than the loss that it is taken of
            assert near(new[key], old[key], bound * (10 if key == "grad_norm" else 1)), where
        for role, lr in old["lr"].items():
            assert near(new["lr"][role], lr, 1e-12), f"step {new['step']}: lr of {role}"
        for knob, value in old["knobs"].items():
            pairs = zip(flat(new["knobs"][knob]), flat(value), strict=True)
            assert all(near(a, b, 1e-12) for a, b in pairs), f"step {new['step']}: {knob}"


@pytest.mark.slow
@pytest.mark.parametrize("recipe", siblings())
def test_the_curve_is_the_stored_one_and_the_same_bits_twice(recipe: str, tmp_path: Path) -> None:
    first, again = (curve(recipe, tmp_path / name) for name in ("first", "again"))
    assert first == again
    check_curve(first, stored(recipe))


def test_every_recipe_of_two_minutes_has_a_curve() -> None:
    assert siblings()
    assert {p.stem for p in GOLDEN.glob("*.json")} == {*siblings(), "schema"}


@pytest.mark.parametrize(
    ("step", "by", "red"), [(3, 3e-5, True), (3, 3e-6, False), (40, 5e-3, True)]
)
def test_a_curve_that_moved_is_found(step: int, by: float, red: bool) -> None:
    kept = stored(siblings()[0])
    moved = json.loads(json.dumps(kept))
    moved["steps"][step - 1]["loss"] *= 1 + by
    if red:
        with pytest.raises(AssertionError, match=f"step {step}: loss"):
            check_curve(moved, kept)
    else:
        check_curve(moved, kept)


def test_names_types_bounds_and_defaults_of_the_recipe_are_the_frozen_ones() -> None:
    kept = json.loads((GOLDEN / "schema.json").read_text(encoding="utf-8"))
    told = json.loads(json.dumps(frozen(), sort_keys=True))
    assert told == kept, "the schema moved: see CHANGELOG.md, Recipes, then  make golden"
