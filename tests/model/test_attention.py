"""Fast paths of attention are the formula; heads, positions and caches mean what they say."""

import math
from dataclasses import replace

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from surefoot.errors import RecipeError
from surefoot.model import attention, rotary
from surefoot.model.attention import Scoring, attend, begins_of
from surefoot.model.attention_layer import AttentionOptions, odd_heads
from surefoot.model.cache import KvRing
from surefoot.model.context import Context
from surefoot.model.mixers import full, windowed
from surefoot.model.model import Table
from surefoot.model.parameters import Declared, declarations, initialise
from surefoot.recipe.choice import Knob
from surefoot.recipe.facts import Shape

SCORING = Scoring(scale=0.3)
PLAIN = replace(SCORING, plain=True)
EXACT = {torch.float64: (1e-14, 5e-14), torch.float32: (2e-6, 5e-6)}


def heads(time, groups=2, dim=8, dtype=torch.float64, seed=0, keys=0):
    """Draw q, k and v of four query heads."""
    source = torch.Generator().manual_seed(seed)
    sizes = [(2, 4, time, dim), *[(2, groups, keys or time, dim)] * 2]
    drawn = [torch.randn(size, generator=source, dtype=torch.float64) for size in sizes]
    return [t.to(dtype).requires_grad_() for t in drawn]


def outputs_and_gradients(tensors, window, begins, scoring):
    for t in tensors:
        t.grad = None
    y = attend(*tensors, window, begins, scoring)
    y.sin().sum().backward()
    return [y.detach(), *(t.grad for t in tensors)]


def compared(tensors, window, begins, fast, slow=PLAIN):
    """Compare a path with the dense formula, outputs and gradients, against values of size 1."""
    limits = EXACT[tensors[0].dtype]
    told = [outputs_and_gradients(tensors, window, begins, s) for s in (fast, slow)]
    for i, (a, b) in enumerate(zip(*told, strict=True)):
        far = float((a - b).abs().max() / b.abs().max().clamp(min=1))
        assert far <= limits[min(i, 1)], f"tensor {i} is off by {far:.1e}"


def borders(time, seed, rows=2):
    source = torch.Generator().manual_seed(seed)
    return (torch.rand(rows, time, generator=source) < 0.1).cumsum(dim=1)


@pytest.mark.parametrize("case", range(20))
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["fp64", "fp32"])
def test_the_band_is_the_masked_formula(case, dtype, monkeypatch):
    pick = torch.Generator().manual_seed(case)

    def one_of(*values):
        return values[int(torch.randint(len(values), (1,), generator=pick))]

    monkeypatch.setattr(attention, "CHUNK", one_of(16, 32, 128))
    time, window = one_of(1, 65, 130, 257), one_of(1, 2, 31, 64, 129, 1000)
    tensors = heads(time, one_of(1, 2, 4), dtype=dtype, seed=case)
    begins = begins_of(borders(time, case)) if case % 2 else None
    softcap = one_of(0.0, 0.0, 1.5)
    fast = replace(SCORING, softcap=softcap)
    compared(tensors, window, begins, fast, replace(fast, plain=True))


def test_no_path_but_the_plain_one_makes_a_square_mask():
    tensors = [t.detach() for t in heads(1024, dim=4, dtype=torch.float32)]
    largest = 0

    class Sizes(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            told = func(*args, **(kwargs or {}))
            if isinstance(told, torch.Tensor):
                largest = max(largest, told.numel())
            return told

    with Sizes():
        attend(*tensors, 64, None, SCORING)
        attend(*tensors, 64, begins_of(borders(1024, 1)), SCORING)
    assert largest < 1024 * 1024 / 4


def test_documents_are_told_apart_whether_few_or_many():
    for many in (3, 40):
        doc = torch.arange(120).expand(2, -1) // (120 // many)
        tensors = heads(120)
        compared(tensors, 120, begins_of(doc), SCORING)


def test_rows_may_have_different_documents():
    tensors, doc = heads(90), borders(90, seed=7)
    y = attend(*tensors, 90, begins_of(doc), SCORING)
    for row in range(2):
        for number in doc[row].unique():
            own = doc[row] == number
            alone = [t[row : row + 1, :, own] for t in tensors]
            assert torch.allclose(
                y[row : row + 1, :, own], attend(*alone, 90, None, SCORING), atol=1e-14
            )


def test_where_documents_begin_is_found_for_each_row():
    doc = torch.tensor([[0, 0, 1, 1, 1], [3, 4, 5, 5, 9]])
    assert begins_of(doc).tolist() == [[0, 0, 2, 2, 2], [0, 1, 2, 2, 4]]
    assert begins_of(doc) is begins_of(doc)


def test_a_window_of_one_gives_each_tokens_own_value():
    q, k, v = heads(33)
    assert torch.equal(attend(q, k, v, 1, None, SCORING), v.repeat_interleave(2, dim=1))


def test_a_window_of_the_whole_row_is_full_attention():
    tensors = heads(130)
    whole = attend(*tensors, 130, None, SCORING)
    assert torch.equal(attend(*tensors, 10**6, None, SCORING), whole)


def test_the_last_query_attends_all_keys():
    q, k, v = heads(1, keys=300)
    y = attend(q, k, v, 300, None, SCORING)
    k, v = (t.repeat_interleave(2, dim=1) for t in (k, v))
    expected = (q @ k.transpose(2, 3) * 0.3).softmax(dim=-1) @ v
    assert torch.allclose(y, expected, atol=1e-14)
    with pytest.raises(AssertionError, match="as many queries as keys"):
        attention.fused(q, k, v, None, 0.3, causal=True)


@pytest.mark.parametrize("window", [1, 7, 40, 400])
def test_fewer_queries_than_keys_are_the_last_of_them(window):
    q, k, v = heads(300)
    whole = attend(q, k, v, window, None, SCORING)
    for last in (1, 2, 130):
        assert torch.allclose(
            attend(q[:, :, -last:], k, v, window, None, SCORING), whole[:, :, -last:], atol=1e-14
        )


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_grouped_heads_are_the_loop_over_heads(groups):
    q, k, v = heads(40, groups)
    for softcap in (0.0, 2.0):
        scoring = replace(SCORING, softcap=softcap)
        y = attend(q, k, v, 9, None, scoring)
        for head in range(4):
            own = head // (4 // groups)
            alone = attend(
                q[:, head : head + 1], k[:, own : own + 1], v[:, own : own + 1], 9, None, scoring
            )
            assert torch.allclose(y[:, head : head + 1], alone, atol=1e-14)


def test_a_softcap_that_never_acts_is_no_softcap():
    tensors = heads(200)
    capped = attend(*tensors, 200, None, replace(SCORING, softcap=1e6))
    assert torch.allclose(capped, attend(*tensors, 200, None, SCORING), atol=1e-9)


def test_a_softcap_has_the_right_gradient():
    small = heads(7, dim=4)
    scoring = replace(SCORING, softcap=0.7)
    assert torch.autograd.gradcheck(lambda *t: attend(*t, 4, None, scoring), small)


def test_capped_chunks_that_are_computed_again_are_the_same(monkeypatch):
    tensors, scoring = heads(300), replace(SCORING, softcap=0.7)
    kept = outputs_and_gradients(tensors, 300, None, scoring)
    monkeypatch.setattr(attention, "DEEP", 16)
    again = outputs_and_gradients(tensors, 300, None, scoring)
    assert all(torch.equal(a, b) for a, b in zip(kept, again, strict=True))


def test_tables_made_in_inference_mode_serve_training_too():
    attention.band.cache_clear()
    rotary._tables.clear()
    tensors = heads(40)
    with torch.inference_mode():
        attend(*tensors, 5, None, SCORING)
        rotary.turns(torch.arange(9).expand(1, -1), 9, 4, 77.0, torch.float64)
    outputs_and_gradients(tensors, 5, None, SCORING)
    cos, sin = rotary.turns(torch.arange(9).expand(1, -1), 9, 4, 77.0, torch.float64)
    x = torch.randn(1, 9, 1, 4, dtype=torch.float64, requires_grad=True)
    rotary.rotate(x, cos, sin).sum().backward()


# rotary positions


def test_scores_depend_on_the_difference_of_positions_alone():
    q, k = (t.detach().transpose(1, 2) for t in heads(30, groups=4)[:2])
    scores = []
    for shift in (0, 1, 5000):
        cos, sin = rotary.turns(torch.arange(30).expand(2, -1) + shift, 30, 6, 1e4, q.dtype)
        a, b = rotary.rotate(q, cos, sin), rotary.rotate(k, cos, sin)
        scores.append(torch.einsum("bthd,bshd->bhts", a, b))
    assert (scores[1] - scores[0]).abs().max() <= 1e-12
    assert (scores[2] - scores[0]).abs().max() <= 1e-11  # 5000 has 12 bits more to round


def test_a_table_that_grew_is_a_fresh_one_bit_by_bit():
    place = (64, 1e4, torch.device("cpu"), torch.float32)
    rotary._tables.clear()
    short = rotary.table(3, *place)[0]
    assert len(short) == rotary.SMALLEST
    grown = rotary.table(1025, *place)
    assert len(grown[0]) == 2048
    fresh = [t.float() for t in rotary.made(2048, 64, 1e4)]
    assert all(torch.equal(a, b) for a, b in zip(grown, fresh, strict=True))
    assert torch.equal(grown[0][: len(short)], short)
    assert rotary.table(2000, *place)[0] is grown[0]


def test_angles_are_exact_where_fp32_is_not():
    cos, _ = rotary.made(16384, 64, 1e4)
    rates = 1e4 ** (-torch.arange(0, 64, 2) / 64)
    naive = (torch.arange(16384)[:, None] * rates).cos()
    assert (cos - naive).abs().max() > 5e-5
    assert (cos.float() - cos).abs().max() < 1e-7
    assert float(cos[12345, 7]) == pytest.approx(math.cos(12345 * 1e4 ** (-14 / 64)), abs=1e-12)


def test_features_turn_in_split_halves_and_the_rest_pass():
    x = torch.arange(8.0).reshape(1, 1, 1, 8)
    cos, sin = rotary.turns(torch.tensor([[1]]), 2, 4, 1e4, torch.float32)
    turned = rotary.rotate(x, cos, sin).flatten()
    assert turned[4:].tolist() == [4, 5, 6, 7]
    assert float(turned[0]) == pytest.approx(0 * math.cos(1) - 2 * math.sin(1), abs=1e-6)
    assert float(turned[2]) == pytest.approx(2 * math.cos(1) + 0 * math.sin(1), abs=1e-6)


# the layer


SHAPE = Shape(dim=32, layers=4, heads=4, kv_heads=2, vocab=50, seq_len=64)


def built(module, options, shape=SHAPE, table=None):
    mixer = module.Mixer(shape, options, 0)
    if table is not None:
        mixer.attach_values(table)
    initialise(mixer, seed=1)
    with torch.no_grad():
        mixer.out.weight.normal_(generator=torch.Generator().manual_seed(2))
    return mixer.double()


def given(time, seed=0, rows=2):
    source = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, time, 32, generator=source, dtype=torch.float64)
    return x, torch.randint(0, 50, (rows, time), generator=source)


def ctx_of(tokens, begin=0, doc=None, **knobs):
    positions = torch.arange(begin, begin + tokens.shape[1]).expand_as(tokens)
    if doc is not None:
        positions = positions - begins_of(doc)
    return Context(tokens=tokens, positions=positions, doc=doc, knobs=knobs)


def decoded(mixer, x, tokens, pieces, knobs=None):
    state, told = mixer.start(len(x), x.shape[1], x.device, x.dtype), []
    for count in pieces:
        part = slice(state.length, state.length + count)
        ctx = ctx_of(tokens[:, part], part.start, **(knobs or {}))
        y, state = mixer.extend(x[:, part], ctx, state)
        told.append(y)
    return torch.cat(told, dim=1), state


def test_head_h_reads_its_own_group_in_training_and_decoding():
    mixer = built(full, full.Options())
    with torch.no_grad():  # value head g is g everywhere, and the output map passes heads through
        mixer.value.weight.zero_()
        mixer.value.weight[:, 0] = torch.tensor([0.0] * 8 + [1.0] * 8)
        mixer.out.weight.copy_(torch.eye(32))
    x, tokens = given(9)
    x[:, :, 0] = 1.0
    for y in (mixer(x, ctx_of(tokens)), decoded(mixer, x, tokens, [4, 1, 4])[0]):
        assert torch.allclose(y[..., ::8], torch.tensor([0.0, 0.0, 1.0, 1.0]).double())


def test_heads_that_do_not_fit_are_refused():
    with pytest.raises(RecipeError, match=r"heads \(16\) must be a multiple of kv_heads \(5\)"):
        full.Mixer(replace(SHAPE, dim=64, heads=16, kv_heads=5), full.Options(), 0)
    with pytest.raises(RecipeError, match=r"20 / 4 = 5 is odd\. Write model\.heads=5"):
        full.Mixer(replace(SHAPE, dim=20, heads=4), full.Options(), 0)
    (problem,) = odd_heads(AttentionOptions(rope_fraction=0.1), "here", 32, 4)
    assert problem.instead == "Write here.rope_fraction=0.25"
    assert not list(odd_heads(AttentionOptions(rope_fraction=0.25), "here", 32, 4))


def test_scores_are_bounded_by_the_norm_and_told():
    mixer = built(full, full.Options())
    x, tokens = given(40)
    assert mixer.stats() == {}
    mixer(100 * x, ctx_of(tokens))
    assert 0 < mixer.stats()["attn_max_score"] <= math.sqrt(8) + 1e-5


def test_a_window_at_least_as_long_as_the_row_is_full():
    x, tokens = given(40)
    wide = built(windowed, windowed.Options(window=40))(x, ctx_of(tokens))
    assert torch.equal(wide, built(full, full.Options())(x, ctx_of(tokens)))


def test_a_ring_decodes_far_past_its_wrap():
    x, tokens = given(150)
    mixer = built(windowed, windowed.Options(window=11))
    y = mixer(x, ctx_of(tokens))
    for pieces in ([1] * 150, [30, 11, 1, 1, 50, 10, 12, 35], [149, 1]):
        told, state = decoded(mixer, x, tokens, pieces)
        assert (told - y).abs().max() / y.abs().max() <= 1e-12
        assert state.keys.shape[2] == 11


def test_a_window_that_grows_finds_its_past():
    options = windowed.Options(window=Knob(knob="window"))
    mixer = built(windowed, options, replace(SHAPE, reach={"window": 20.0}))
    x, tokens = given(60)
    state = mixer.start(2, 60, x.device, x.dtype)
    assert state.keys.shape[2] == 20
    _, state = mixer.extend(x[:, :40], ctx_of(tokens[:, :40], window=5.0), state)
    y, state = mixer.extend(x[:, 40:50], ctx_of(tokens[:, 40:50], 40, window=[20.0, 5.0]), state)
    fresh = built(windowed, windowed.Options(window=20))(x, ctx_of(tokens))
    assert (y - fresh[:, 40:50]).abs().max() <= 1e-12
    y, state = mixer.extend(x[:, 50:51], ctx_of(tokens[:, 50:51], 50, window=20.0), state)
    assert (y - fresh[:, 50:51]).abs().max() <= 1e-12


def test_a_window_beyond_the_ring_is_our_bug_and_says_so():
    options = windowed.Options(window=Knob(knob="window"))
    mixer = built(windowed, options, replace(SHAPE, reach={"window": 8.0}))
    x, tokens = given(10)
    with pytest.raises(AssertionError, match="a ring of 8 holds no 9 tokens"):
        mixer.extend(x, ctx_of(tokens, window=9.0), mixer.start(2, 64, x.device, x.dtype))


@pytest.mark.parametrize(
    ("module", "options"), [(full, full.Options()), (windowed, windowed.Options(window=6))]
)
def test_decoding_keeps_documents_apart(module, options):
    mixer, doc = built(module, options), borders(70, seed=5)
    x, tokens = given(70)
    whole = ctx_of(tokens, doc=doc)
    y = mixer(x, whole)
    for pieces in ([70], [1] * 70, [20, 1, 30, 19]):
        state, told = mixer.start(2, 70, x.device, x.dtype), []
        for count in pieces:
            part = slice(state.length, state.length + count)
            ctx = replace(
                whole,
                tokens=tokens[:, part],
                positions=whole.positions[:, part],
                doc=doc[:, part],
            )
            out, state = mixer.extend(x[:, part], ctx, state)
            told.append(out)
        assert (torch.cat(told, dim=1) - y).abs().max() <= 1e-12


def test_a_cache_says_when_it_is_full():
    mixer = built(full, full.Options())
    x, tokens = given(9)
    with pytest.raises(AssertionError, match="started for 8 tokens, not for 9"):
        mixer.extend(x, ctx_of(tokens), mixer.start(2, 8, x.device, x.dtype))


def test_a_ring_gives_the_latest_in_order():
    keys = torch.arange(10.0).reshape(1, 1, 10, 1)
    ring = KvRing(length=0, keys=torch.zeros(1, 1, 4, 1), values=torch.zeros(1, 1, 4, 1))
    ring = ring.put(keys[:, :, :3], keys[:, :, :3])
    assert ring.latest(9)[0].flatten().tolist() == [0, 1, 2]
    ring = ring.put(keys[:, :, 3:6], keys[:, :, 3:6])
    assert ring.latest(9)[0].flatten().tolist() == [2, 3, 4, 5]
    assert ring.latest(3)[1].flatten().tolist() == [3, 4, 5]
    assert sorted(ring.latest(4, ordered=False)[0].flatten().tolist()) == [2, 3, 4, 5]
    ring = ring.put(keys, keys)
    assert ring.latest(2)[0].flatten().tolist() == [8, 9]
    assert ring.latest(0)[0].shape[2] == 0


def table():
    made = Table(50, 16, Declared("value_embedding", std=1.0))
    initialise(made, seed=3)
    return made.double()


def test_values_take_half_of_the_tokens_table():
    shared = table()
    x, tokens = given(20)
    mixer, without = built(full, full.Options(), table=shared), built(full, full.Options())
    assert mixer.value_table is shared
    assert without.value_table is None
    assert not any("shared" in name or "table" in name for name in mixer.state_dict())
    assert declarations(mixer)["value_mix"].role == "scalar"
    assert mixer.value_mix.tolist() == [0.5, 0.5]
    zero = torch.zeros_like(x)  # values of no input come from the table alone
    y = mixer(zero, ctx_of(tokens))
    assert y.any()
    assert not without(zero, ctx_of(tokens)).any()
    told, _ = decoded(mixer, x, tokens, [7, 1, 12])
    assert (told - mixer(x, ctx_of(tokens))).abs().max() <= 1e-12


def test_two_layers_add_up_their_gradients_in_a_shared_table():
    shared, (x, tokens) = table(), given(20)
    layers = [
        built(full, full.Options(), table=shared),
        built(windowed, windowed.Options(window=4), table=shared),
    ]
    alone = []
    for layer in layers:
        (slope,) = torch.autograd.grad(layer(x, ctx_of(tokens)).sum(), shared.weight)
        alone.append(slope)
    (both,) = torch.autograd.grad(
        sum(own(x, ctx_of(tokens)).sum() for own in layers), shared.weight
    )
    assert torch.allclose(both, sum(alone))


@pytest.mark.parametrize("softcap", [0.0, 0.7])
def test_a_layer_that_is_computed_twice_has_the_same_gradients(softcap):
    options = windowed.Options(window=9, attn_softcap=softcap)
    mixer, (x, tokens) = built(windowed, options), given(300)
    told = []
    for again in (False, True):
        mixer.zero_grad()
        ctx, given_x = ctx_of(tokens), x.clone().requires_grad_()
        y = checkpoint(mixer, given_x, ctx, use_reentrant=False) if again else mixer(given_x, ctx)
        y.sin().sum().backward()
        told.append([given_x.grad, *(p.grad for p in mixer.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*told, strict=True))


def test_a_kept_graph_gives_the_same_gradients_again_and_a_spent_one_none():
    tensors = heads(300)
    total = attend(*tensors, 9, None, SCORING).sin().sum()
    first = torch.autograd.grad(total, tensors, retain_graph=True)
    second = torch.autograd.grad(total, tensors)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(total, tensors)


def test_gradients_reach_those_that_ask_alone():
    q, k, v = heads(200)
    expected = outputs_and_gradients([q, k, v], 9, None, SCORING)[2]
    y = attend(q.detach(), k, v.detach(), 9, None, SCORING)
    (slope,) = torch.autograd.grad(y.sin().sum(), k)
    assert torch.equal(slope, expected)


def test_bf16_trains_with_gradients_near_those_of_fp32():
    mixer, (x, tokens) = built(windowed, windowed.Options(window=9)).float(), given(150)
    told = []
    for low in (False, True):
        mixer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            y = mixer(x.float(), ctx_of(tokens))
        y.float().square().mean().backward()
        told.append(torch.cat([p.grad.flatten() for p in mixer.parameters()]))
    assert (told[1] - told[0]).norm() <= 3e-2 * told[0].norm()
