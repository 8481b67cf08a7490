"""The chunked loss against the plain form of its formula."""

import importlib.util
import itertools
import math
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor, nn

from surefoot.model import chunked_loss as real
from surefoot.model.logit_cap import capped

DIM, VOCAB, ROWS = 16, 101, 70
CAPS = [(0.0, "tanh"), (15.0, "tanh"), (15.0, "rational")]
GRID = list(itertools.product((1, 16, 70, 4096), (0.0, 0.1), (0.0, 1e-4)))


def drawn(dtype: torch.dtype, ignored: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    """Rows, weights and targets large enough for the cap to act."""
    source = torch.Generator().manual_seed(7)
    hidden = torch.randn(ROWS, DIM, generator=source, dtype=torch.float64) * 2
    weight = torch.randn(VOCAB, DIM, generator=source, dtype=torch.float64)
    targets = torch.randint(VOCAB, (ROWS,), generator=source)
    if ignored:
        targets[::7] = -100
    return hidden.to(dtype), weight.to(dtype), targets


def plain(hidden: Tensor, weight: Tensor, targets: Tensor, valid: int, terms: real.Terms) -> Tensor:
    """The same loss as autograd alone would do it, all logits at once."""
    logits = capped(hidden @ weight.t(), terms.logit_cap, terms.logit_cap_kind)
    ce = nn.functional.cross_entropy(
        logits, targets, reduction="sum", label_smoothing=terms.label_smoothing
    )
    z = (logits.logsumexp(1).square() * (targets >= 0)).sum()
    return (ce + terms.z_loss * z) / valid


def gap(module: ModuleType, dtype: torch.dtype, terms: tuple, chunk: int) -> float:
    """The largest difference in loss, dh and dW, relative to each one's largest value."""
    hidden, weight, targets = drawn(dtype)
    valid = int((targets >= 0).sum()) + 13  # other micro-batches count too
    results = []
    for exact in (True, False):
        h = (hidden.double() if exact else hidden).requires_grad_()
        w = weight.double() if exact else weight.float() if dtype == torch.bfloat16 else weight
        w.requires_grad_()
        how = module.Terms(*terms)
        loss = (
            plain(h, w, targets, valid, how)
            if exact
            else module.chunked_loss(h, w, targets, valid, how, chunk)[0]
        )
        (loss * 3).backward()
        results.append((loss.detach(), h.grad, w.grad))
        hidden, weight = hidden.detach().clone(), weight.detach().clone()
    return max(
        float((mine.double() - right).abs().max() / right.abs().max())
        for right, mine in zip(*results, strict=True)
    )


@pytest.mark.parametrize("cap", CAPS, ids=str)
@pytest.mark.parametrize(
    ("dtype", "limit"), [(torch.float64, 1e-8), (torch.float32, 2e-6), (torch.bfloat16, 2e-2)]
)
def test_loss_and_gradients_are_those_of_the_plain_form(
    cap: tuple, dtype: torch.dtype, limit: float
) -> None:
    worst = {how: gap(real, dtype, (*cap, *how[1:]), how[0]) for how in GRID}
    assert max(worst.values()) <= limit, max(worst, key=worst.__getitem__)


MUTANTS = {
    "cap' left out": ("if terms.logit_cap:\n        p.mul_", "if False:\n        p.mul_"),
    "ignored rows pull": ("return p.mul_(counted.unsqueeze(1))", "return p"),
    "ignored rows count": ("rows.mul_(counted)", "pass"),
    "z-loss without its 2": ("1 + 2 * terms.z_loss", "1 + terms.z_loss"),
    "smoothing not subtracted": ("p.sub_(share / logits.shape[1])", "pass"),
    "last chunk alone": ("d_weight.addmm_(slope.t(), hidden[part])", "d_weight = slope.t() @ h"),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_copy_is_found(name: str, tmp_path: Path) -> None:
    old, new = MUTANTS[name]
    source = Path(str(real.__file__)).read_text()
    assert old in source, "the mutant no longer fits the code"
    broken = tmp_path / "broken.py"
    broken.write_text(source.replace(old, new.replace("@ h", "@ hidden[part]")))
    spec = importlib.util.spec_from_file_location("broken_loss", broken)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["broken_loss"] = module
    spec.loader.exec_module(module)
    assert gap(module, torch.float64, (15.0, "tanh", 0.1, 1e-4), 16) > 1e-6


def test_rows_are_the_textbook_quantities() -> None:
    hidden, weight, targets = drawn(torch.float64)
    terms = real.Terms(15.0, "tanh", 0.1)
    rows = real.chunked_loss(hidden, weight, targets, 1, terms, 16)[1]
    logits = capped(hidden @ weight.t(), 15.0, "tanh")
    log_p = logits.log_softmax(1)
    counted = targets >= 0
    right = {
        "ce": -log_p.gather(1, targets.clamp(min=0).unsqueeze(1)).squeeze(1),
        "entropy": -(log_p.exp() * log_p).sum(1),
        "z2": logits.logsumexp(1).square(),
        "top": logits.abs().amax(1),
    }
    right["smooth"] = 0.9 * right["ce"] - 0.1 * log_p.mean(1)
    for name, value in right.items():
        assert torch.allclose(getattr(rows, name), value * counted, atol=1e-12), name


def test_entropy_equals_ce_when_targets_are_drawn_from_the_model() -> None:
    source = torch.Generator().manual_seed(3)
    hidden = torch.randn(20_000, 8, generator=source)
    weight = torch.randn(32, 8, generator=source) * 0.7
    p = (hidden @ weight.t()).softmax(1)
    targets = torch.multinomial(p, 1, generator=source).squeeze(1)
    rows = real.chunked_loss(hidden, weight, targets, 1, real.Terms())[1]
    difference = rows.ce - rows.entropy
    assert abs(difference.mean()) < 4 * difference.std() / math.sqrt(len(targets))


def test_smoothing_has_the_floor_of_the_formula() -> None:
    share, vocab = 0.1, 4096
    kept = 1 - share + share / vocab
    floor = -kept * math.log(kept) - (vocab - 1) * share / vocab * math.log(share / vocab)
    assert abs(floor - 1.1565785) < 1e-7
    best = torch.full((vocab,), math.log(share / vocab), dtype=torch.float64)
    best[5] = math.log(kept)
    terms = real.Terms(label_smoothing=share)
    hidden = torch.ones(1, 1, dtype=torch.float64)
    targets = torch.tensor([5])
    loss, rows = real.chunked_loss(hidden, best.unsqueeze(1), targets, 1, terms)
    assert abs(loss - floor) < 1e-9
    assert abs(rows.entropy - floor) < 1e-9
    assert abs(rows.ce - 0.1053334) < 1e-6


def test_extreme_logits_stay_finite() -> None:
    weight = torch.tensor([[1e4], [-1e4], [0.0]]).requires_grad_()
    hidden = torch.tensor([[1.0], [-1.0], [0.0]]).requires_grad_()
    for cap in CAPS:
        loss, rows = real.chunked_loss(
            hidden, weight, torch.tensor([1, 1, 1]), 3, real.Terms(*cap, 0.1, 1e-4)
        )
        grads = torch.autograd.grad(loss, (hidden, weight))
        assert all(t.isfinite().all() for t in (*rows, loss, *grads))


def test_all_rows_ignored_is_no_loss_and_no_gradient() -> None:
    hidden, weight, targets = drawn(torch.float32)
    weight.requires_grad_()
    loss, _ = real.chunked_loss(hidden, weight, targets.fill_(-100), 8, real.Terms())
    loss.backward()
    assert loss == 0
    assert weight.grad is not None and not weight.grad.any()


def test_no_gradient_is_made_where_none_is_wanted() -> None:
    hidden, weight, targets = drawn(torch.float32)
    weight.requires_grad_()
    with torch.inference_mode():
        loss, rows = real.chunked_loss(hidden, weight, targets, ROWS, real.Terms(), 16)
    assert not loss.requires_grad and not rows.ce.requires_grad


def test_autocast_computes_in_bf16_and_keeps_the_gradient_in_fp32() -> None:
    hidden, weight, targets = drawn(torch.float32)
    hidden.requires_grad_(), weight.requires_grad_()
    right = plain(hidden, weight, targets.clone(), ROWS, real.Terms())
    expected = torch.autograd.grad(right, (hidden, weight))
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = real.chunked_loss(hidden, weight, targets, ROWS, real.Terms(), 16)
    got = torch.autograd.grad(loss, (hidden, weight))
    assert loss.dtype == got[1].dtype == torch.float32
    assert loss != right  # it was bf16
    for mine, its in zip(got, expected, strict=True):
        assert (mine - its).abs().max() <= 2e-2 * its.abs().max()


def test_default_chunk_is_the_largest_that_fits_into_32_mib() -> None:
    assert real.chunk_rows(4096) == 2048
    assert real.chunk_rows(50304) == 128
    assert real.chunk_rows(2**26) == 1


PEAK = """
import re, sys, torch
from pathlib import Path
from torch import nn
from surefoot.model.chunked_loss import Terms, chunked_loss
torch.set_num_threads(1)
h = torch.randn(16384, 64).requires_grad_()
w = (torch.randn(4096, 64) / 8).requires_grad_()
y = torch.randint(4096, (16384,))
chunked_loss(h[:64], w, y[:64], 64, Terms())[0].backward()  # code pages, thread pools
h.grad, w.grad = torch.zeros_like(h), torch.zeros_like(w)
h.grad.fill_(0), w.grad.fill_(0)
told = lambda: Path("/proc/self/status").read_text()  # ru_maxrss would count the parent's too
rss = lambda: int(re.search(r"VmHWM:\\s*(\\d+)", told())[1]) * 1024
before = rss()
if sys.argv[1] == "chunked":
    chunked_loss(h, w, y, 16384, Terms(logit_cap=30.0))[0].backward()
else:
    nn.functional.cross_entropy(30 * torch.tanh(h @ w.t() / 30), y).backward()
print(rss() - before - 2 * (h.nbytes + w.nbytes))
"""


@pytest.mark.slow
def test_memory_stays_within_five_chunks() -> None:
    def peak(form: str) -> int:
        told = subprocess.run(
            [sys.executable, "-c", PEAK, form], capture_output=True, check=True, text=True
        )
        return int(told.stdout)

    assert peak("chunked") <= 5 * 2048 * 4096 * 4
    assert peak("plain") > 500e6


@pytest.mark.slow
def test_it_takes_no_longer_than_the_plain_form() -> None:
    source = torch.Generator().manual_seed(0)
    hidden = torch.randn(8192, 128, generator=source).requires_grad_()
    weight = (torch.randn(4096, 128, generator=source) / 11).requires_grad_()
    targets = torch.randint(4096, (8192,), generator=source)

    def seconds(chunked: bool) -> float:
        begin = time.perf_counter()
        if chunked:
            loss = real.chunked_loss(hidden, weight, targets, 8192, real.Terms())[0]
        else:
            loss = plain(hidden, weight, targets, 8192, real.Terms())
        loss.backward()
        return time.perf_counter() - begin

    pairs = [(seconds(True), seconds(False)) for _ in range(5)]
    ratio = min(mine for mine, _ in pairs) / min(its for _, its in pairs)
    assert ratio <= 1.05, f"{ratio:.2f} times the plain form"
