"""Generation: the cache changes the time and nothing else; what can't be written is refused."""

import math
import time
from typing import Any

import pytest
import torch

from surefoot import kinds
from surefoot.audit.shake import shake
from surefoot.errors import SurefootError, UsageError
from surefoot.evaluate.generate import generate
from surefoot.model.model import Model, build
from surefoot.recipe.choice import Knob
from surefoot.recipe.facts import Shape
from surefoot.recipe.schema import Model as Table

PROMPT = [5, 3, 60, 17, 2]


class Words:
    """A tokenizer of 61 words, for a model whose embedding has 64 rows."""

    vocab = 61


def examples(name: str) -> list[Any]:
    module = kinds.find("mixers", name)
    return module.examples() if hasattr(module, "examples") else [module.Options(kind=name)]


MIXERS = [
    pytest.param(options, id=f"{name}-{i}", marks=() if i == 0 else pytest.mark.slow)
    for name in kinds.names("mixers")
    for i, options in enumerate(examples(name))
]
every = pytest.mark.parametrize("options", MIXERS)


def made(options: Any, dim: int = 32, layers: int = 2) -> tuple[Model, dict[str, float]]:
    """A model whose predictions are far from uniform, and values for the knobs that it reads."""
    recipe = Table(dim=dim, layers=layers, mixers={"L": options}, tied=False)
    values = [getattr(options, name) for name in type(options).model_fields]
    knobs = {value.knob: 7.0 for value in values if isinstance(value, Knob)}
    shape = Shape(dim, layers, heads=4, kv_heads=2, vocab=64, seq_len=32, reach=knobs)
    model = build(recipe, shape, 1)
    shake(model, seed=2)
    with torch.no_grad():
        model.head.weight.mul_(4)
    return model, knobs


@every
def test_greedy_with_a_cache_writes_what_it_writes_without(options) -> None:
    model, knobs = made(options)
    model.double()  # no two logits are near enough for the order of sums to matter
    texts = [
        generate(model, Words(), PROMPT, 40, knobs, greedy=True, cached=cached)
        for cached in (True, False)
    ]
    assert texts[0] == texts[1]
    assert len(texts[0]) == 40
    assert len(set(texts[0])) > 2, "a text of one word would prove nothing"


@pytest.fixture
def model() -> Model:
    return made(kinds.find("mixers", "haar").Options(levels=3))[0]


def test_a_seed_gives_its_text_again_and_another_seed_another(model) -> None:
    first, again, other = (
        generate(model, Words(), PROMPT, 30, temperature=1.0, seed=seed) for seed in (1, 1, 2)
    )
    assert first == again != other


def test_sampling_leaves_the_program_s_own_random_numbers_alone(model) -> None:
    state = torch.get_rng_state()
    generate(model, Words(), PROMPT, 5)
    assert torch.equal(state, torch.get_rng_state())


def test_only_tokens_of_the_tokenizer_are_written(model) -> None:
    with torch.no_grad():
        model.head.weight[61:] = 10 * model.head.weight[:3]  # rows that only fill up to 64
    text = generate(model, Words(), PROMPT, 200, temperature=3.0, top_p=1.0)
    assert max(text) < 61


def test_tokens_are_drawn_as_often_as_the_model_says(model) -> None:
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.norm.weight.zero_()
    seen = [
        generate(model, Words(), PROMPT, 1, temperature=1.0, top_p=1.0, seed=s)[0]
        for s in range(1200)
    ]
    counts = torch.bincount(torch.tensor(seen), minlength=61).double()
    expected = 1200 / 61
    chi2 = float(((counts - expected) ** 2 / expected).sum())
    assert chi2 < 60 + 4 * math.sqrt(2 * 60)


def test_a_small_top_p_is_greedy(model) -> None:
    greedy = generate(model, Words(), PROMPT, 20, greedy=True)
    assert generate(model, Words(), PROMPT, 20, temperature=1.0, top_p=1e-9) == greedy
    assert generate(model, Words(), PROMPT, 20, temperature=0.0) == greedy


def test_weights_that_are_not_finite_are_an_error_and_no_text(model) -> None:
    with torch.no_grad():
        model.head.weight[7, 0] = math.nan
    with pytest.raises(SurefootError, match=r"1 of 61 logits are not finite.*--step best"):
        generate(model, Words(), PROMPT, 4)


@pytest.mark.parametrize(
    ("prompt", "why"), [([], "nothing to continue"), ([3, 61], "tokens 0 to 60")]
)
def test_a_prompt_that_cannot_be_continued_is_refused(model, prompt, why) -> None:
    with pytest.raises(UsageError, match=why):
        generate(model, Words(), prompt, 4)


def test_a_model_that_sees_later_tokens_is_refused(model) -> None:
    model.layers[1].mixer.causal = False
    with pytest.raises(UsageError, match="sees later tokens"):
        generate(model, Words(), PROMPT, 4)


def test_no_token_asked_for_is_none_written(model) -> None:
    assert generate(model, Words(), PROMPT, 0) == []


@pytest.mark.slow
@every
def test_from_64_tokens_on_the_cache_is_faster(options) -> None:
    model, knobs = made(options, dim=128, layers=4)

    def seconds(cached: bool) -> float:
        begin = time.perf_counter()
        generate(model, Words(), PROMPT, 96, knobs, greedy=True, cached=cached)
        return time.perf_counter() - begin

    pairs = [(seconds(True), seconds(False)) for _ in range(3)]
    assert min(a for a, _ in pairs) < min(b for _, b in pairs)
