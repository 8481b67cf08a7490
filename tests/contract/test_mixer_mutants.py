"""Mixers that are broken on purpose: each is caught by the promise that it breaks."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from surefoot.errors import RecipeError
from surefoot.model import rotary
from surefoot.model.attention import attend
from surefoot.model.attention_layer import turned
from surefoot.model.cache import KvRing
from surefoot.model.mixers import full, windowed
from surefoot.model.parameters import Linear
from tests.contract import mixer_promises as promises
from tests.contract.mixer_promises import Subject

FULL, WINDOWED = full.Options(), windowed.Options(window=5)


class OffByOne(full.Mixer):
    def forward(self, x, ctx):
        q, k, v = self.project(x, ctx, x.shape[1])
        k, v = k.roll(-1, dims=2), v.roll(-1, dims=2)  # each token reads the next one
        return self.joined(attend(q, k, v, k.shape[2], None, self.scoring))


class Repeated(full.Mixer):
    def extend(self, x, ctx, state):
        q, k, v = self.project(x, ctx, state.length + x.shape[1])
        state = state.put(k, v)
        keys, values = (t.repeat(1, 2, 1, 1) for t in state.held())  # head h reads h mod kv_heads
        return self.joined(attend(q, keys, values, state.length, None, self.scoring)), state


class CausalDecode(full.Mixer):
    def extend(self, x, ctx, state):
        q, k, v = self.project(x, ctx, state.length + x.shape[1])
        state = state.put(k, v)
        y = scaled_dot_product_attention(q, *state.held(), is_causal=True, enable_gqa=True)
        return self.joined(y), state


@dataclass
class ShortRing(KvRing):
    def latest(self, count, ordered=True):
        return super().latest(min(count, self.keys.shape[2] - 1))


class OneShort(windowed.Mixer):
    def start(self, batch, max_len, device, dtype):
        ring = super().start(batch, max_len, device, dtype)
        return ShortRing(ring.length, ring.keys, ring.values)


class TurnedLate(windowed.Mixer):
    def extend(self, x, ctx, state):
        still = replace(ctx, positions=torch.zeros_like(ctx.positions))
        q, k, v = self.project(x, still, 1)
        state = state.put(k, v)
        keys, values = state.latest(self.window(ctx), ordered=False)
        keys = self.turn(keys, torch.arange(keys.shape[2]).expand(len(x), -1))  # slots, not times
        q = self.turn(q, ctx.positions)
        return self.joined(attend(q, keys, values, 10**9, None, self.scoring)), state

    def turn(self, x: Tensor, positions: Tensor) -> Tensor:
        pairs = turned(self.options, self.head_dim)
        cos, sin = rotary.turns(positions, 1, pairs, self.options.rope_base, x.dtype)
        return rotary.rotate(x.transpose(1, 2), cos, sin).transpose(1, 2)


class SharedSnapshot(windowed.Mixer):
    def start(self, batch, max_len, device, dtype):
        ring = super().start(batch, max_len, device, dtype)
        return Unkept(ring.length, ring.keys, ring.values)


@dataclass
class Unkept(KvRing):
    def snapshot(self):
        return replace(self)


class DeafToDocuments(full.Mixer):
    def forward(self, x, ctx):
        return super().forward(x, replace(ctx, doc=None))


class BatchMean(full.Mixer):
    def forward(self, x, ctx):
        y = super().forward(x, ctx)
        return y + y.mean(dim=0, keepdim=True)


class KnowsTheLength(full.Mixer):
    def forward(self, x, ctx):
        return super().forward(x, ctx) / x.shape[1]


class LateChoice(full.Mixer):
    def forward(self, x, ctx):
        if ctx.trace is not None:  # chosen by all of the row, though no output shows it
            ctx.trace["chosen"] = x.sum(dim=(1, 2), keepdim=True).gt(0).expand(x.shape)
        return super().forward(x, ctx)


class Loud(full.Mixer):
    def forward(self, x, ctx):
        return super().forward(x, ctx) + 0.1 * x


class RootOfZero(full.Mixer):
    def forward(self, x, ctx):
        return super().forward(x, ctx) * x.norm(dim=-1, keepdim=True).sqrt()


class Idle(full.Mixer):
    def __init__(self, shape, options, layer):
        super().__init__(shape, options, layer)
        self.unused = Linear(4, 4)


class NoRole(full.Mixer):
    def __init__(self, shape, options, layer):
        super().__init__(shape, options, layer)
        self.bias = nn.Parameter(torch.zeros(shape.dim))


class BufferLost(full.Mixer):
    def __init__(self, shape, options, layer):
        super().__init__(shape, options, layer)
        self.register_buffer("taper", torch.ones(shape.dim), persistent=False)

    def forward(self, x, ctx):
        return super().forward(x * self.taper, ctx)


CAUGHT = {
    OffByOne: lambda s: promises.sees_no_later_token(s, 17),
    Repeated: lambda s: promises.trains_as_it_decodes(s, 17),
    CausalDecode: lambda s: promises.trains_as_it_decodes(s, 17),
    OneShort: lambda s: promises.trains_as_it_decodes(s, 17),
    TurnedLate: lambda s: promises.trains_as_it_decodes(s, 17),
    SharedSnapshot: promises.comes_back_to_a_snapshot,
    DeafToDocuments: lambda s: promises.keeps_documents_apart(s, (1, 1, 9, 6)),
    BatchMean: lambda s: promises.keeps_rows_apart(s, 17),
    KnowsTheLength: lambda s: promises.ignores_what_follows(s, 17),
    LateChoice: lambda s: promises.sees_no_later_token(s, 17),
    Loud: promises.begins_as_the_identity,
    RootOfZero: promises.has_finite_gradients,
    Idle: promises.declares_what_it_is,
    BufferLost: promises.can_be_built_on_meta,
}


@pytest.mark.parametrize("mutant", CAUGHT, ids=lambda mutant: mutant.__name__)
def test_a_broken_mixer_is_caught(mutant):
    name, options = ("windowed", WINDOWED) if issubclass(mutant, windowed.Mixer) else ("full", FULL)
    whole = Subject(name, options)
    CAUGHT[mutant](whole)  # the mixer that it was made from is fine
    with pytest.raises(AssertionError):
        CAUGHT[mutant](replace(whole, made=mutant))


def test_an_off_by_one_mask_shows_in_the_jacobian():
    with pytest.raises(AssertionError):
        promises.has_a_lower_jacobian(Subject("full", FULL, made=OffByOne))


def test_an_unused_parameter_is_named():
    with pytest.raises(AssertionError, match=r"unused\.weight"):
        promises.teaches_every_parameter(Subject("full", FULL, made=Idle))


def test_a_parameter_without_a_role_is_named():
    with pytest.raises(RecipeError, match="bias"):
        promises.declares_what_it_is(Subject("full", FULL, made=NoRole))


def test_a_leak_is_hidden_by_zero_outputs_and_shown_by_shaking():
    subject = Subject("full", FULL, made=OffByOne)
    x, tokens = promises.drawn(17, torch.float32)
    assert not promises.run(subject, subject.mixer(shaken=False), x, tokens).any()
    assert promises.run(subject, subject.mixer(), x, tokens).any()
