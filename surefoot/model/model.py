"""The Model: embedding, layers of mixer and feed-forward part joined by a stream, and a head."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from surefoot import kinds
from surefoot.errors import Problem, RecipeError
from surefoot.model.batch import Batch
from surefoot.model.context import Context, Knob, State
from surefoot.model.ffn import Ffn
from surefoot.model.parameters import Declared, Norm, initialise, parameter
from surefoot.recipe.facts import Shape


class Table(nn.Module):
    """A vector for each token of the vocabulary."""

    weight: Tensor

    def __init__(self, vocab: int, width: int, declared: Declared) -> None:
        super().__init__()
        parameter(self, "weight", (vocab, width), declared)

    def forward(self, tokens: Tensor) -> Tensor:
        return nn.functional.embedding(tokens, self.weight)


class Layer(nn.Module):
    """One layer: a mixer over tokens, then a feed-forward part, each behind a norm."""

    mixer: Any
    stream_mixer: Any
    stream_ffn: Any

    def __init__(self, recipe: Any, shape: Shape, layer: int) -> None:
        super().__init__()
        options = recipe.mixers[letters(recipe)[layer]]
        stream = kinds.find("streams", recipe.stream.kind).Stream
        self.stream_mixer = stream(shape, recipe.stream, 2 * layer)
        self.norm_mixer = Norm(shape.dim, shape.norm_eps)
        self.mixer = kinds.find("mixers", options.kind).Mixer(shape, options, layer)
        self.stream_ffn = stream(shape, recipe.stream, 2 * layer + 1)
        self.norm_ffn = Norm(shape.dim, shape.norm_eps)
        self.ffn = Ffn(shape, recipe.ffn)

    def forward(self, x: Tensor, ctx: Context) -> Tensor:
        seen = self.norm_mixer(self.stream_mixer.read(x))
        return self.rest(self.stream_mixer.write(x, self.mixer(seen, ctx)))

    def extend(self, x: Tensor, ctx: Context, state: State) -> tuple[Tensor, State]:
        """Do the same for new tokens, the mixer remembering those before."""
        seen = self.norm_mixer(self.stream_mixer.read(x))
        y, state = self.mixer.extend(seen, ctx, state)
        return self.rest(self.stream_mixer.write(x, y)), state

    def rest(self, x: Tensor) -> Tensor:
        """Do what follows the mixer; each position by itself."""
        return self.stream_ffn.write(x, self.ffn(self.norm_ffn(self.stream_ffn.read(x))))


class Model(nn.Module):
    """A language model as a recipe describes it."""

    embedding: Table
    layers: Any  # a ModuleList of Layer, whose elements would be Modules to a type checker
    head: Any

    def __init__(self, recipe: Any, shape: Shape, checkpointing: bool = False) -> None:
        super().__init__()
        self.shape, self.checkpointing = shape, checkpointing
        # A free embedding meets nothing but norms, so it can start at the size that layers write,
        # where a recipe's larger steps suit it. A tied one is the unembedding too: rows of rms 1
        # against a normed x would give logits of sqrt(dim) and start far above ln(vocab). Free with
        # 0.02 learnt 0.15 nats worse than with 1 (bytes, dim 128, 4 layers, 220 updates, 2 seeds).
        spread = 0.02 if recipe.tied else 1.0
        self.embedding = Table(shape.vocab, shape.dim, Declared("embedding", std=spread))
        self.value_embeddings = nn.ModuleList(value_tables(shape))
        self.layers = nn.ModuleList(Layer(recipe, shape, i) for i in range(shape.layers))
        head = kinds.find("heads", recipe.head.kind).Head
        self.head = head(shape, recipe.head, self.embedding if recipe.tied else None)
        self.attach()

    def attach(self) -> None:
        """Give the first and last layers the tables of token values that they share."""
        for layer, table in value_layers(self.shape):
            mixer = self.layers[layer].mixer
            if hasattr(mixer, "attach_values"):
                mixer.attach_values(self.value_embeddings[table])

    @property
    def causal(self) -> bool:
        """Whether no position sees a later one."""
        return all(layer.mixer.causal for layer in self.layers)

    def forward(
        self,
        tokens: Tensor,
        knobs: Mapping[str, Knob] | None = None,
        doc: Tensor | None = None,
        positions: Tensor | None = None,
        trace: dict[str, Tensor] | None = None,
    ) -> Tensor:  # (batch, time) -> capped logits (batch, time, vocab)
        return self.head(self.top(context(tokens, knobs, doc, positions, trace)))

    def top(self, ctx: Context, shares: list[Tensor] | None = None) -> Tensor:
        """Give the top of the stream; `shares` takes how much each layer has written."""
        x = self.layers[0].stream_mixer.expand(self.embedding(ctx.tokens))
        for i, layer in enumerate(self.layers):
            before = x
            if self.checkpointing and torch.is_grad_enabled():
                # no layer draws random numbers, so their state need not be kept
                x = checkpoint(layer, x, ctx.at(i), use_reentrant=False, preserve_rng_state=False)
            else:
                x = layer(x, ctx.at(i))
            if shares is not None:
                shares.append(written(before, x))
        return self.layers[-1].stream_ffn.collapse(x)

    def loss(
        self, batch: Batch, knobs: Mapping[str, Knob] | None, valid: int, probe: bool = False
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Give what is optimised, over `valid` targets of the whole step, and detached stats."""
        ctx = context(batch.tokens, knobs, batch.doc, batch.positions)
        shares: list[Tensor] | None = [] if probe else None
        loss, stats = self.head.loss(self.top(ctx, shares), batch, ctx, valid)
        if shares is not None:
            stats["layer_out_rms"] = torch.stack(shares)
        return loss, stats

    def ce(self, batch: Batch, knobs: Mapping[str, Knob] | None) -> Tensor:
        """Give each target's cross-entropy in nats, without smoothing; 0 where it is ignored."""
        ctx = context(batch.tokens, knobs, batch.doc, batch.positions)
        return self.head.ce(self.top(ctx), batch)

    def start(
        self,
        batch: int,
        max_len: int,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> list[State]:
        """Begin to remember: one empty state a layer."""
        device, dtype = device or self.embedding.weight.device, dtype or self.embedding.weight.dtype
        return [layer.mixer.start(batch, max_len, device, dtype) for layer in self.layers]

    def extend(
        self,
        tokens: Tensor,
        states: list[State],
        knobs: Mapping[str, Knob] | None = None,
        last_only: bool = False,
    ) -> tuple[Tensor, list[State]]:
        """Read new tokens after those remembered; give their logits, and what is known now."""
        begin = states[0].length
        positions = torch.arange(begin, begin + tokens.shape[1], device=tokens.device)
        ctx = context(tokens, knobs, None, positions.expand_as(tokens))
        x = self.layers[0].stream_mixer.expand(self.embedding(tokens))
        known: list[State] = []
        for i, (layer, state) in enumerate(zip(self.layers, states, strict=True)):
            x, state = layer.extend(x, ctx.at(i), state)
            known.append(state)
        top = self.layers[-1].stream_ffn.collapse(x)
        return self.head(top[:, -1:] if last_only else top), known


def letters(recipe: Any) -> str:
    """Write out the pattern: the mixer of each layer, from the bottom up."""
    return (recipe.pattern * recipe.layers)[: recipe.layers]


def value_layers(shape: Shape) -> list[tuple[int, int]]:
    """Pair the first and the last layers with the table that they share, in the same order."""
    tables = range(shape.value_embeddings)
    upper = shape.layers - shape.value_embeddings
    return [(i, i) for i in tables] + [(upper + i, i) for i in tables]


def value_tables(shape: Shape) -> list[Table]:
    """Make the tables of token values; each serves one of the first and one of the last layers."""
    tables = shape.value_embeddings
    if 2 * tables > shape.layers:
        raise RecipeError(
            Problem(
                what="model.value_embeddings",
                value=str(tables),
                why="each table serves one of the first and one of the last layers, and there are "
                f"only {shape.layers} layers",
                instead=f"Write model.value_embeddings={shape.layers // 2}",
            )
        )
    width = shape.kv_heads * shape.head_dim
    # 1 is the size of the values that they are mixed with; 0.02 learnt 0.07 nats worse on bytes
    # (dim 128, 4 layers, 220 updates, two seeds)
    return [Table(shape.vocab, width, Declared("value_embedding", std=1.0)) for _ in range(tables)]


def context(
    tokens: Tensor,
    knobs: Mapping[str, Knob] | None = None,
    doc: Tensor | None = None,
    positions: Tensor | None = None,
    trace: dict[str, Tensor] | None = None,
) -> Context:
    """Make the Context of a pass; positions restart at 0 in each document."""
    if positions is None:
        positions = torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
        if doc is not None:
            begins = nn.functional.pad(doc[:, 1:] != doc[:, :-1], (1, 0), value=True)
            positions = positions - (positions * begins).cummax(dim=1).values
    return Context(tokens=tokens, positions=positions, doc=doc, knobs=knobs or {}, trace=trace)


@torch.no_grad()
def written(before: Tensor, after: Tensor) -> Tensor:
    """Give the rms of what a layer added, as a share of the stream's."""
    added, stream = (after - before).float(), after.float()
    return (added.square().mean() / stream.square().mean().clamp(min=1e-30)).sqrt()


def build(
    recipe: Any,
    shape: Shape,
    seed: int,
    device: str | torch.device = "cpu",
    checkpointing: bool = False,
) -> Model:
    """Make a model with its first values, which depend on the seed and nothing else."""
    with torch.device("meta"):
        model = Model(recipe, shape, checkpointing)
    model.to_empty(device=device)
    initialise(model, seed)
    return model
