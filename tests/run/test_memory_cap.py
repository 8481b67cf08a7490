"""The memory that a recipe allows is what torch may take; said aloud, clamped, never guessed."""

import pytest
import torch

from surefoot.errors import RecipeError
from surefoot.recipe.load import load
from surefoot.run.memory_cap import GIB, capped

TOTAL = 80 * GIB


class Card:
    """A GPU of which only the books are there."""

    def __init__(self, total: int = TOTAL, others: int = GIB // 2) -> None:
        self.total, self.others = total, others
        self.fractions: list[float] = []

    def mem_get_info(self, device: torch.device) -> tuple[int, int]:
        return self.total - self.others, self.total

    def memory_reserved(self, device: torch.device) -> int:
        return 0

    def set_per_process_memory_fraction(self, fraction: float, device: torch.device) -> None:
        self.fractions.append(fraction)


def recipe(**limits: float):
    return load("starter", {f"limits.{key}": value for key, value in limits.items()}).recipe


def test_ten_gb_are_nine_and_a_third_gib_of_the_device() -> None:
    card = Card()
    told = capped(recipe(mem_gb=10.0), card)
    assert told is not None
    assert card.fractions == [pytest.approx(10e9 / TOTAL)]
    assert str(told) == (
        "limits.mem_gb = 10 = 9.31 GiB: torch may take 11.6% of the device's 80.00 GiB; "
        "0.50 GiB are taken outside of it"
    )
    assert told.row()["fraction"] == pytest.approx(10e9 / TOTAL)


@pytest.mark.parametrize("gib", [80.0, 96.0])
def test_a_limit_that_the_device_never_reaches_caps_nothing_and_says_so(gib: float) -> None:
    card = Card()
    told = capped(recipe(mem_gib=gib), card)
    assert card.fractions == []
    assert "nothing is capped" in str(told)


def test_just_below_all_of_it_is_a_cap() -> None:
    card = Card()
    capped(recipe(mem_gib=79.99), card)
    assert 0.999 < card.fractions[0] < 1.0


def test_without_a_limit_nothing_is_asked_of_the_device() -> None:
    assert capped(recipe(), Card()) is None


def test_without_a_gpu_the_forecast_alone_is_held_to_it_and_that_is_said() -> None:
    told = capped(load("starter", {"limits.mem_gb": 10.0, "train.device": "cpu"}).recipe)
    assert "no CUDA device here" in str(told) and told is not None and told.fraction is None


def test_a_limit_of_nothing_is_a_mistake_of_the_recipe() -> None:
    with pytest.raises(RecipeError, match=r"limits\.mem_gb"):
        recipe(mem_gb=0.0)


@pytest.mark.gpu
def test_more_than_the_cap_is_refused_by_torch_itself() -> None:
    torch.cuda.empty_cache()
    told = capped(load("starter", {"limits.mem_gib": 1.0, "train.device": "cuda"}).recipe)
    assert told is not None and told.fraction is not None
    try:
        torch.empty(GIB // 2, dtype=torch.uint8, device="cuda")
        with pytest.raises(torch.OutOfMemoryError):
            torch.empty(2 * GIB, dtype=torch.uint8, device="cuda")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
