"""What every token mixer promises, as functions that fail an assertion where it is broken."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from surefoot import kinds
from surefoot.audit.shake import shake
from surefoot.model.context import Context
from surefoot.model.parameters import ROLES, declarations, initialise
from surefoot.recipe.choice import Knob
from surefoot.recipe.facts import Shape

DIM, HEADS, GROUPS, ROWS, VOCAB, LAYERS = 32, 4, 2, 3, 97, 4
KNOB, REACH = 7.0, 13.0  # the value of each knob, and the most it is said to become
PARALLEL = {torch.float64: 1e-12, torch.float32: 5e-5}


@dataclass(frozen=True)
class Subject:
    """One mixer under test, with the options that it is made from."""

    name: str
    options: Any
    dtype: torch.dtype = torch.float32
    made: Callable[..., nn.Module] | None = None  # a mutant's class, instead of the choice's own
    shape: Shape = field(
        default_factory=lambda: Shape(
            dim=DIM, layers=LAYERS, heads=HEADS, kv_heads=GROUPS, vocab=VOCAB, seq_len=64
        )
    )

    @property
    def knobs(self) -> dict[str, float]:
        """Give each knob that the options name a value."""
        values = [getattr(self.options, name) for name in type(self.options).model_fields]
        return {value.knob: KNOB for value in values if isinstance(value, Knob)}

    def sized(self, seq_len: int = 64, **changes: Any) -> Shape:
        """Give the shape at another length."""
        reach = dict.fromkeys(self.knobs, REACH)
        return replace(self.shape, seq_len=seq_len, reach=reach, **changes)

    def mixer(self, shaken: bool = True, dtype: torch.dtype | None = None, **changes: Any) -> Any:
        """Build it, with weights drawn as a model's are, and shaken unless told otherwise."""
        made = self.made or kinds.find("mixers", self.name).Mixer
        mixer = made(self.sized(**changes), self.options, 0)
        initialise(mixer, seed=5)
        if shaken:
            shake(mixer, seed=6)
        return mixer.to(dtype or self.dtype)

    def context(self, tokens: Tensor, doc: Tensor | None = None, begin: int = 0) -> Context:
        """Give the pass in which so many tokens come after `begin` others."""
        positions = torch.arange(begin, begin + tokens.shape[1]).expand_as(tokens)
        if doc is not None:
            first = nn.functional.pad(doc[:, 1:] != doc[:, :-1], (1, 0), value=True)
            positions = positions - (positions * first).cummax(dim=1).values
        return Context(tokens=tokens, positions=positions, doc=doc, knobs=self.knobs, trace={})


def drawn(time: int, dtype: torch.dtype, rows: int = ROWS, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Draw an input [rows, time, dim] and the tokens that go with it."""
    source = torch.Generator().manual_seed(1000 * seed + time)
    x = torch.randn(rows, time, DIM, generator=source, dtype=torch.float64).to(dtype)
    return x, torch.randint(0, VOCAB, (rows, time), generator=source)


def differs(a: Tensor, b: Tensor) -> float:
    """Give the largest difference, against the largest value of the second."""
    if not b.numel():
        return 0.0
    return float((a - b).abs().max() / b.abs().max().clamp(min=1e-30))


def run(subject: Subject, mixer: Any, x: Tensor, tokens: Tensor) -> Tensor:
    """Run the train graph."""
    return mixer(x, subject.context(tokens))


def extended(
    subject: Subject, mixer: Any, x: Tensor, tokens: Tensor, pieces: Sequence[int]
) -> Tensor:
    """Run the same tokens through `extend`, cut into pieces."""
    state = mixer.start(x.shape[0], x.shape[1], x.device, x.dtype)
    told: list[Tensor] = []
    for count in pieces:
        part = slice(state.length, state.length + count)
        ctx = subject.context(tokens[:, part], begin=state.length)
        y, state = mixer.extend(x[:, part], ctx, state)
        told.append(y)
    assert state.length == x.shape[1], f"the state counts {state.length} of {x.shape[1]} tokens"
    return torch.cat(told, dim=1)


@torch.no_grad()
def sees_no_later_token(subject: Subject, time: int) -> None:
    """Redrawn tokens from any cut on change no earlier output and no earlier choice."""
    mixer = subject.mixer(dtype=torch.float64)
    if not mixer.causal:
        return
    x, tokens = drawn(time, torch.float64, rows=1)
    other, others = drawn(time, torch.float64, rows=1, seed=1)
    before = subject.context(tokens)
    y = mixer(x, before)
    for cut in sorted({1, 2, time // 4, time // 2, time - 1} & set(range(1, time))):
        after = subject.context(torch.cat([tokens[:, :cut], others[:, cut:]], dim=1))
        changed = mixer(torch.cat([x[:, :cut], other[:, cut:]], dim=1), after)
        far = differs(changed[:, :cut], y[:, :cut])
        assert far <= 1e-9, f"tokens from {cut} on change earlier outputs by {far:.1e}"
        for name, chosen in (before.trace or {}).items():
            same = torch.equal(chosen[:, :cut], (after.trace or {})[name][:, :cut])
            assert same, f"tokens from {cut} on change earlier {name}"


def has_a_lower_jacobian(subject: Subject, time: int = 37) -> None:
    """No output has a gradient from a later input."""
    mixer = subject.mixer(dtype=torch.float64)
    if not mixer.causal:
        return
    x, tokens = drawn(time, torch.float64, rows=1)
    rows = x.repeat(time, 1, 1).requires_grad_()  # row t differentiates its own output t
    y = run(subject, mixer, rows, tokens.repeat(time, 1))
    along = torch.randn(DIM, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    (slopes,) = torch.autograd.grad((y.diagonal(dim1=0, dim2=1).T @ along).sum(), rows)
    sizes = slopes.norm(dim=-1)
    leak = float(sizes.triu(1).max() / sizes.max())
    assert leak <= 1e-12, f"the future's gradient is {leak:.1e} of the past's"
    assert float(sizes.diagonal().min()) > 0, "an output does not depend on its own input"


@torch.no_grad()
def trains_as_it_decodes(subject: Subject, time: int) -> None:
    """The train graph, prefill and decode agree, however the tokens are cut."""
    mixer = subject.mixer()
    x, tokens = drawn(time, subject.dtype)
    y = run(subject, mixer, x, tokens)
    for pieces in splits(time):
        far = differs(extended(subject, mixer, x, tokens, pieces), y)
        assert far <= PARALLEL[subject.dtype], f"cut as {pieces}: off by {far:.1e}"


def splits(time: int) -> list[list[int]]:
    """Cut a length in the ways that decoding does, and in three others."""
    ways = [[time], [1] * time]
    if time > 1:
        ways += [[time - 1, 1], [1, time - 1]]
    source = torch.Generator().manual_seed(time)
    for count in (3, 4, 5) if time > 5 else ():
        cuts = sorted((torch.randperm(time - 1, generator=source)[:count] + 1).tolist())
        edges = [0, *cuts, time]
        ways.append([high - low for low, high in pairwise(edges)])
    return ways


@torch.no_grad()
def keeps_rows_apart(subject: Subject, time: int) -> None:
    """A row's output does not change by a bit when the other rows do."""
    mixer = subject.mixer()
    x, tokens = drawn(time, subject.dtype)
    other, others = drawn(time, subject.dtype, seed=1)
    other[1], others[1] = x[1], tokens[1]
    for way in (run, lambda *given: extended(*given, splits(time)[1])):
        same = torch.equal(way(subject, mixer, x, tokens)[1], way(subject, mixer, other, others)[1])
        assert same, "other rows change a row's output"


def documents(lengths: Sequence[int], rows: int) -> Tensor:
    """Number the documents of a row; each row begins one token later with them."""
    ids = torch.arange(len(lengths)).repeat_interleave(torch.tensor(lengths))
    return torch.stack([torch.cat([ids[:1].expand(r), ids])[: len(ids)] for r in range(rows)])


@torch.no_grad()
def keeps_documents_apart(subject: Subject, lengths: Sequence[int]) -> None:
    """Each document's output is that of the document run alone."""
    mixer = subject.mixer()
    doc = documents(lengths, ROWS)
    x, tokens = drawn(doc.shape[1], subject.dtype)
    y = mixer(x, subject.context(tokens, doc))
    for row in range(ROWS):
        for number in doc[row].unique():
            own = doc[row] == number
            alone = run(subject, mixer, x[row : row + 1, own], tokens[row : row + 1, own])
            far = differs(y[row : row + 1, own], alone)
            assert far <= PARALLEL[subject.dtype], f"document {number} is off by {far:.1e}"


@torch.no_grad()
def ignores_what_follows(subject: Subject, time: int) -> None:
    """A prefix gives the prefix of the output, whatever the length."""
    mixer = subject.mixer(dtype=torch.float64)
    if not mixer.causal:
        return
    x, tokens = drawn(time, torch.float64, rows=1)
    y = run(subject, mixer, x, tokens)
    for cut in range(1, time):
        far = differs(run(subject, mixer, x[:, :cut], tokens[:, :cut]), y[:, :cut])
        assert far <= 1e-12, f"the first {cut} of {time} are off by {far:.1e}"


@torch.no_grad()
def comes_back_to_a_snapshot(subject: Subject) -> None:
    """After a restore the same tokens give the same outputs, bit by bit, more than once."""
    mixer = subject.mixer()
    x, tokens = drawn(40, subject.dtype)
    state = mixer.start(ROWS, 40, x.device, x.dtype)
    _, state = mixer.extend(x[:, :21], subject.context(tokens[:, :21]), state)
    kept = state.snapshot()
    told = []
    for pieces in ([16], [16], [1] * 16, [1] * 16):
        ys = []
        for count in pieces:
            part = slice(state.length, state.length + count)
            y, state = mixer.extend(
                x[:, part], subject.context(tokens[:, part], begin=part.start), state
            )
            ys.append(y)
        told.append(torch.cat(ys, dim=1))
        state = state.restore(kept)
        assert state.length == 21, "a restore does not bring the length back"
    assert torch.equal(told[0], told[1]), "a restored state gives other outputs"
    assert torch.equal(told[2], told[3]), "a restored state gives other outputs token by token"


@torch.no_grad()
def begins_as_the_identity(subject: Subject) -> None:
    """With `init_out = "zero"` the branch writes exactly nothing."""
    if getattr(subject.options, "init_out", "zero") == "zero":
        x, tokens = drawn(17, subject.dtype)
        written = run(subject, subject.mixer(shaken=False), x, tokens)
        assert not written.any(), f"a fresh mixer writes up to {float(written.abs().max()):.1e}"


def has_finite_gradients(subject: Subject) -> None:
    """Zero, constant and huge inputs, single tokens and single-token documents give no NaN."""
    mixer = subject.mixer()
    singles = documents([1] * 6, 1)
    cases = [
        (torch.zeros(1, 6, DIM), None),
        (torch.ones(1, 6, DIM), None),
        (drawn(1, torch.float32, rows=1)[0], None),
        (drawn(6, torch.float32, rows=1)[0], singles),
        (drawn(17, torch.float32, rows=1)[0] * 1e4, None),
    ]
    for given, doc in cases:
        x = given.to(subject.dtype).requires_grad_()
        tokens = torch.zeros(x.shape[:2], dtype=torch.int64)
        mixer.zero_grad()
        y = mixer(x, subject.context(tokens, doc))
        (y * torch.arange(1, DIM + 1).to(y)).sum().backward()
        tensors = {"input": x, **dict(mixer.named_parameters())}
        for name, tensor in tensors.items():
            finite = tensor.grad is not None and bool(tensor.grad.isfinite().all())
            assert finite, f"{name} has no finite gradient"


def teaches_every_parameter(subject: Subject) -> None:
    """Within three steps each parameter gets a gradient that is not zero."""
    mixer = subject.mixer(shaken=False)
    waiting = dict(mixer.named_parameters())
    for step in range(3):
        x, tokens = drawn(17, subject.dtype, seed=step)
        aim, _ = drawn(17, subject.dtype, seed=step + 10)
        mixer.zero_grad()
        (run(subject, mixer, x, tokens) - aim).square().sum().backward()
        waiting = {n: p for n, p in waiting.items() if p.grad is None or not p.grad.any()}
        with torch.no_grad():
            for p in mixer.parameters():
                p -= 1e-3 * (0 if p.grad is None else p.grad)
    assert not waiting, f"no gradient in 3 steps: {', '.join(waiting)}"


def declares_what_it_is(subject: Subject, time: int = 64) -> None:
    """Roles are known, and parameters, work and state are those that `facts` tells."""
    mixer = subject.mixer(seq_len=time)
    told = kinds.find("mixers", subject.name).facts(subject.sized(time), subject.options)
    counted: dict[str, int] = {}
    tensors = dict(mixer.named_parameters())
    for name, declared in declarations(mixer).items():
        assert declared.role in ROLES, f"{name} has the unknown role {declared.role}"
        counted[declared.role] = counted.get(declared.role, 0) + tensors[name].numel()
    assert counted == dict(told.parameters), f"{counted} parameters, declared {told.parameters}"
    x, tokens = drawn(time, subject.dtype)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        run(subject, mixer, x, tokens)
    ratio = told.flops * ROWS * time / counter.get_total_flops()
    # matmuls alone are counted, and those that a mask hides are counted too
    assert 0.4 <= ratio <= 2.5, f"declared work is {ratio:.2f} of what is counted"
    state = mixer.start(ROWS, time, x.device, x.dtype)
    ratio = told.state * ROWS * x.element_size() / state.nbytes()
    assert 0.99 <= ratio <= 1.01, f"declared state is {ratio:.3f} of its bytes"
    assert told.activations > 0, "no activations are declared"


@torch.no_grad()
def survives_its_state_dict(subject: Subject) -> None:
    """Weights written out and read back give the same outputs, bit by bit."""
    mixer, other = subject.mixer(), subject.mixer(shaken=False)
    other.load_state_dict({name: t.clone() for name, t in mixer.state_dict().items()})
    x, tokens = drawn(17, subject.dtype)
    same = torch.equal(run(subject, mixer, x, tokens), run(subject, other, x, tokens))
    assert same, "weights that were read back give other outputs"


@torch.no_grad()
def can_be_built_on_meta(subject: Subject) -> None:
    """Built without memory and filled later, it is the mixer that is built at once."""
    made = subject.made or kinds.find("mixers", subject.name).Mixer
    with torch.device("meta"):
        late = made(subject.sized(), subject.options, 0)
    late.to_empty(device="cpu")
    for tensor in [*late.parameters(), *late.buffers()]:
        if tensor.is_floating_point():
            tensor.fill_(torch.nan)  # what nobody draws stays NaN
    initialise(late, seed=5)
    early = subject.mixer(shaken=False, dtype=torch.float32)
    for name, tensor in early.state_dict().items():
        assert torch.equal(late.state_dict()[name], tensor), f"{name} is drawn differently"
    for mixer in (early, late):
        shake(mixer, seed=6)
    x, tokens = drawn(17, torch.float32)
    same = torch.equal(run(subject, early, x, tokens), run(subject, late, x, tokens))
    assert same, "a mixer built on meta gives other outputs"


def equals_its_plain_twin(subject: Subject, time: int) -> None:
    """The fast path gives the outputs and gradients of the plain formulas."""
    x, tokens = drawn(time, subject.dtype)
    told = []
    for attention in ("auto", "plain"):
        mixer = subject.mixer(attention=attention)
        given = x.clone().requires_grad_()
        y = run(subject, mixer, given, tokens)
        y.square().sum().backward()
        assert given.grad is not None, "the input has no gradient"
        told.append((y.detach(), given.grad, *(p.grad for p in mixer.parameters())))
    for fast, slow in zip(*told, strict=True):
        assert differs(fast, slow) <= PARALLEL[subject.dtype], "the fast path differs"


@torch.no_grad()
def stands_bf16(subject: Subject) -> None:
    """Under autocast the outputs stay within 3% of those in fp32."""
    mixer = subject.mixer(dtype=torch.float32)
    x, tokens = drawn(17, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        y = run(subject, mixer, x, tokens)
    far = differs(y.float(), run(subject, mixer, x, tokens))
    assert far <= 3e-2, f"bf16 is off by {far:.1e}"


@torch.no_grad()
def tells_plain_numbers(subject: Subject) -> None:
    """Statistics are finite floats."""
    mixer = subject.mixer()
    x, tokens = drawn(17, subject.dtype)
    run(subject, mixer, x, tokens)
    for name, value in (mixer.stats() if hasattr(mixer, "stats") else {}).items():
        assert isinstance(value, float) and abs(value) < 1e30, f"{name} = {value}"
