"""An answer counts where every token of it is right, and its end."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from surefoot.errors import SurefootError
from surefoot.evaluate.answers import SHOWN, TOGETHER, Asked, answer

EOS = 9


class Numbers:
    """Ten tokens, of which the last ends a text."""

    vocab, eos = 10, EOS

    def decode(self, ids: Sequence[int]) -> str:
        return " ".join(map(str, ids))


class Counting:
    """A model that counts on from the last token; it answers in whatever company it is asked."""

    causal = True

    def __init__(self, wrong_at: int = -1, rows: int = 16) -> None:
        self.embedding = torch.nn.Embedding(rows, 1)  # rows that are no token come last
        self.wrong_at, self.largest = wrong_at, 0

    def start(self, batch: int, max_len: int) -> list[Any]:
        self.largest = max(self.largest, batch)
        return []

    def extend(self, tokens: torch.Tensor, states: Any, knobs: Any, last_only: bool = False):
        assert last_only
        last = tokens[:, -1]
        following = torch.where(last == self.wrong_at, 0, last + 1)
        logits = torch.nn.functional.one_hot(following, 16).float()
        logits[:, 12] = 5.0  # a row of the embedding that no token has is never said
        return logits[:, None], states


def asked(*pairs: tuple[list[int], list[int]]) -> list[Asked]:
    return [Asked(*pair) for pair in pairs]


def test_answers_are_right_to_the_last_token_and_the_end() -> None:
    problems = asked(
        ([1, 2], [3, 4, 5, 6, 7, 8]),  # counted to the end
        ([4], [5, 6, 7, 8]),
        ([1, 2], [3, 4]),  # goes on where it should have ended
        ([7], [8, 8]),
        ([8], []),  # ends at once, as it should
    )
    found = answer(Counting(), Numbers(), problems, {})  # pyright: ignore[reportArgumentType]
    assert (found.right, found.problems) == (3, 5)
    assert found.exact_share == pytest.approx(0.6)
    assert found.exact_se == pytest.approx((0.6 * 0.4 / 5) ** 0.5)
    assert [tuple(one.values()) for one in found.wrong] == [
        ("1 2", "3 4 5 6 7 8", "3 4"),
        ("7", "8", "8 8"),
    ]


def test_one_wrong_token_makes_an_answer_wrong() -> None:
    problems = asked(([1], [2, 3, 4, 5, 6, 7, 8]), ([6], [7, 8]))
    found = answer(Counting(wrong_at=5), Numbers(), problems, {})  # pyright: ignore[reportArgumentType]
    assert found.right == 1
    assert found.wrong[0]["said"].startswith("2 3 4 5 0 1 2 3")


def test_many_problems_are_answered_some_at_a_time_and_few_wrong_ones_are_told() -> None:
    model = Counting()
    problems = asked(*[([n % 7], list(range(n % 7 + 1, 9))) for n in range(150)])
    assert answer(model, Numbers(), problems, {}).exact_share == 1.0  # pyright: ignore[reportArgumentType]
    assert 1 < model.largest <= TOGETHER
    wrong = asked(*[([1], [0])] * 20)
    assert len(answer(model, Numbers(), wrong, {}).wrong) == SHOWN  # pyright: ignore[reportArgumentType]


def test_a_model_without_numbers_is_refused_and_not_wrong() -> None:
    class Sick(Counting):
        def extend(self, *args: Any, **more: Any):
            logits, states = super().extend(*args, **more)
            return logits * torch.nan, states

    with pytest.raises(SurefootError, match="not finite"):
        answer(Sick(), Numbers(), asked(([1], [2])), {})  # pyright: ignore[reportArgumentType]
