"""Times windowed attention against a masked square and full attention, and each mixer against full.

Goals: with a window of 128, at least 2, 3, 4 and 5 times as fast as the masked square at 512, 1024,
2048 and 4096 tokens, 1.5 and 2 times full attention at 512 and 4096; twice the tokens cost at most
2.4 times as much. Ratios are b over a: how many times sooner a is done.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from surefoot import kinds
from surefoot.model.attention import Scoring, attend, dense_mask
from surefoot.model.context import Context
from surefoot.model.parameters import initialise
from surefoot.protocol import Paired, environment, paired
from surefoot.recipe.facts import Shape

HEADS, HEAD_DIM = 4, 64
MASKED = {(512, 128): 2.0, (1024, 128): 3.0, (2048, 128): 4.0, (4096, 128): 5.0, (4096, 1792): 1.8}
FULL = {(512, 128): 1.5, (4096, 128): 2.0}
CAPPED = {512: 1 / 1.7, 1024: 1 / 1.7, 2048: 1 / 1.7}
GROWTH = 1 / 2.4  # of the time at twice the tokens
PROMPT, TOKENS = 1024, 32  # of a decode: read at once, then one by one

Case = tuple[str, Callable[[], object], Callable[[], object], float | None]


def run(quick: bool = False, repeat: int = 1, **own: Any) -> dict[str, Any]:
    """Measure and give the rows; longest is the most tokens of a row that are tried."""
    before = torch.get_num_threads()
    torch.set_num_threads(int(own.get("threads", before)))
    longest = int(own.get("longest", 1024 if quick else 32768))
    warmup, pairs = (1, 3) if quick else (3, 9 * repeat)
    told: dict[str, tuple[Paired, float | None]] = {}
    try:
        for case, a, b, goal in cases(longest):
            told[case] = (paired(a, b, warmup, pairs, None if quick else goal), goal)
        settings = {**environment(), "threads": torch.get_num_threads(), "longest": longest}
    finally:
        torch.set_num_threads(before)
    return {
        "v": 1,
        "name": "mixers",
        "quick": quick,
        "settings": settings,
        "rows": [timed.row(case, goal) for case, (timed, goal) in told.items()],
        "states": states(longest),
        "samples": {case: timed.raw() for case, (timed, _) in told.items()},
    }


def cases(longest: int) -> Iterator[Case]:
    """Give everything that is timed, the shortest rows first."""
    for (time, window), goal in sorted(MASKED.items()):
        if time <= longest:
            q, k, v = heads(time)
            name = f"window {window} at {time}"
            band = trained(lambda q, k, v, w=window: attend(q, k, v, w, None, PLAIN), q, k, v)
            mask = dense_mask(q, k, window, None)
            square = trained(
                lambda q, k, v, m=mask: scaled_dot_product_attention(q, k, v, m), q, k, v
            )
            yield f"{name} against a masked square", band, square, goal
            yield f"{name} against full", band, causal(q, k, v), FULL.get((time, window))
    for time, goal in CAPPED.items():
        if time <= longest:
            q, k, v = heads(time)
            bent = Scoring(PLAIN.scale, softcap=50.0)
            soft = trained(lambda q, k, v, s=bent: attend(q, k, v, q.shape[2], None, s), q, k, v)
            yield f"softcap at {time} against full", soft, causal(q, k, v), goal
    yield from growth(longest)
    yield from modules(longest)


PLAIN = Scoring(HEAD_DIM**-0.5)


def heads(time: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw queries, keys and values as projections give them."""
    source = torch.Generator().manual_seed(time)
    drawn = torch.randn(3, 1, time, HEADS, HEAD_DIM, generator=source).transpose(2, 3)
    q, k, v = (t.detach().requires_grad_() for t in drawn)
    return q, k, v


def trained(way: Callable[..., Tensor], *tensors: Tensor) -> Callable[[], object]:
    """Give a forward and backward pass to time."""

    def work() -> object:
        y = way(*tensors)
        return torch.autograd.grad(y, tensors, torch.ones_like(y))

    return work


def causal(q: Tensor, k: Tensor, v: Tensor) -> Callable[[], object]:
    """Give torch's causal attention to time."""
    return trained(lambda q, k, v: scaled_dot_product_attention(q, k, v, is_causal=True), q, k, v)


def growth(longest: int) -> Iterator[Case]:
    """Give the band at twice the tokens against once."""
    time = 2048
    while 2 * time <= longest:
        once, twice = (
            trained(lambda q, k, v: attend(q, k, v, 128, None, PLAIN), *heads(t))
            for t in (time, 2 * time)
        )
        goal = GROWTH if time == 4096 else None
        yield f"window 128 at {2 * time} against {time}", twice, once, goal
        time *= 2


def modules(longest: int) -> Iterator[Case]:
    """Give each mixer as a recipe has it against full: training, and decoding token by token."""
    for name in kinds.names("mixers"):
        if name == "full":
            continue
        for time in (256, 1024, 4096):
            if time <= longest:
                ours, theirs = (stepped(mixer(kind, time), time) for kind in (name, "full"))
                yield f"{name} at {time} against full", ours, theirs, None
        ours, theirs = (decoded(mixer(kind, PROMPT + TOKENS)) for kind in (name, "full"))
        yield f"{name} decodes {TOKENS} after {PROMPT} against full", ours, theirs, None


def mixer(kind: str, time: int) -> Any:
    """Build a mixer with its default options."""
    module = kinds.find("mixers", kind)
    built = module.Mixer(shape(time), module.Options(kind=kind), 0)
    initialise(built, seed=0)
    return built


def shape(time: int) -> Shape:
    """Give a layer's sizes."""
    dim = HEADS * HEAD_DIM
    return Shape(dim=dim, layers=8, heads=HEADS, kv_heads=HEADS, vocab=4096, seq_len=time)


def passing(begin: int, time: int) -> Context:
    """Give the pass of so many tokens after others."""
    positions = torch.arange(begin, begin + time).expand(1, -1)
    return Context(tokens=torch.zeros_like(positions), positions=positions)


def stepped(built: nn.Module, time: int) -> Callable[[], object]:
    """Give a mixer's forward and backward pass to time."""
    x = torch.randn(1, time, HEADS * HEAD_DIM, requires_grad=True)
    own = [x, *built.parameters()]

    def work() -> object:
        y = built(x, passing(0, time))
        return torch.autograd.grad(y, own, torch.ones_like(y))

    return work


def decoded(built: Any) -> Callable[[], object]:
    """Give the decoding of a few tokens after a prompt to time; each call comes back to its end."""
    x = torch.randn(1, PROMPT + TOKENS, HEADS * HEAD_DIM)
    with torch.no_grad():
        state = built.start(1, PROMPT + TOKENS, x.device, x.dtype)
        _, state = built.extend(x[:, :PROMPT], passing(0, PROMPT), state)
        kept = state.snapshot()

    @torch.no_grad()
    def work() -> object:
        state = kept.restore(kept)
        for t in range(PROMPT, PROMPT + TOKENS):
            _, state = built.extend(x[:, t : t + 1], passing(t, 1), state)
        return state

    return work


def states(longest: int) -> list[dict[str, Any]]:
    """Count the bytes of each mixer's state for one row."""
    rows: list[dict[str, Any]] = []
    for name in kinds.names("mixers"):
        for time in (1024, longest):
            state = mixer(name, time).start(1, time, torch.device("cpu"), torch.float32)
            rows.append({"mixer": name, "tokens": time, "bytes": state.nbytes()})
    return rows
