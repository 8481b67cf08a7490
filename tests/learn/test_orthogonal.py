"""Newton-Schulz: where singular values land, and that both forms say the same."""

import pytest
import torch
from torch import Tensor

from surefoot.learn import orthogonal
from surefoot.learn.orthogonal import flops, gram_wins, orthogonalised

SHAPES = [(64, 64), (64, 96), (64, 256), (32, 256), (256, 64)]


def matrix(rows: int, columns: int, spectrum: str, seed: int) -> Tensor:
    source = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, columns, generator=source, dtype=torch.float64)
    if spectrum == "random":
        return x
    u, s, vt = torch.linalg.svd(x, full_matrices=False)
    return u * (1.0 / torch.arange(1, len(s) + 1)) @ vt


@pytest.mark.parametrize("spectrum", ["random", "power"])
def test_singular_values_land_between_a_third_and_six_fifths(spectrum: str) -> None:
    for seed in range(10):
        rows, columns = SHAPES[seed % len(SHAPES)]
        x = matrix(rows, columns, spectrum, seed)
        u, s, vt = torch.linalg.svd(x, full_matrices=False)
        moved = torch.einsum("ik,ij,kj->k", u, orthogonalised(x.float()).double(), vt)
        large = s > 1e-2 * x.norm()
        assert large.any()
        assert moved[large].min() > 0.3
        assert moved.max() < 1.21


@pytest.mark.parametrize("wide", [1.0, 1.5, 4.0, 8.0])
@pytest.mark.parametrize("spectrum", ["random", "power"])
def test_the_gram_form_equals_the_plain_form(wide: float, spectrum: str) -> None:
    x = matrix(96, round(96 * wide), spectrum, 3).float()
    plain, gram = orthogonalised(x, form="plain"), orthogonalised(x, form="gram")
    assert (plain - gram).norm() / plain.norm() < 5e-4
    tall = orthogonalised(x.T.contiguous(), form="gram")
    assert (tall.T - gram).norm() / gram.norm() < 5e-4


def test_the_gram_form_is_chosen_from_one_and_a_half_on() -> None:
    assert not gram_wins(1024, 1024)
    assert not gram_wins(384, 576)
    assert gram_wins(384, 577)
    assert gram_wins(4096, 1024)
    assert gram_wins(1024, 4096)
    assert flops(64, 256) == 4 * 64 * 64 * 256 + 34 * 64**3
    assert flops(64, 64) == 20 * 64**3 + 10 * 64**3
    for n in (64, 96, 97, 256):  # what is chosen is never the dearer one
        other = 4.0 * 64 * 64 * n + 34 * 64**3, 20.0 * 64 * 64 * n + 10 * 64**3
        assert flops(64, n) == min(other)


@pytest.mark.parametrize(("shape", "chosen"), [((32, 48), "plain_form"), ((32, 49), "gram_form")])
def test_a_wide_matrix_really_takes_the_gram_form(
    shape: tuple[int, int], chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    for name in ("plain_form", "gram_form"):
        real = getattr(orthogonal, name)

        def spy(x: Tensor, steps: int, name: str = name, real: object = real) -> Tensor:
            asked.append(name)
            return real(x, steps)  # type: ignore[operator]

        monkeypatch.setattr(orthogonal, name, spy)
    orthogonalised(torch.randn(shape))
    orthogonalised(torch.randn(shape).bfloat16(), dtype=torch.bfloat16)
    assert asked == [chosen, "plain_form"]  # in 16 bit the Gram form would need a restart


def test_a_stack_is_its_matrices_one_by_one() -> None:
    stack = torch.randn(5, 24, 16, generator=torch.Generator().manual_seed(1))
    one_by_one = torch.stack([orthogonalised(x) for x in stack])
    torch.testing.assert_close(orthogonalised(stack), one_by_one, rtol=0, atol=2e-6)


def test_a_zero_matrix_stays_zero() -> None:
    assert not orthogonalised(torch.zeros(4, 8)).any()
