"""The Model: names, roles, counts, losses, documents, decoding."""

import copy
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from surefoot.errors import RecipeError
from surefoot.learn.learner import outside_the_graph
from surefoot.model.batch import IGNORED, Batch
from surefoot.model.facts import (
    activation_elements,
    flops_per_token,
    forecast_parameters,
    layer_state,
)
from surefoot.model.model import Model, build, context, letters
from surefoot.model.parameters import declarations
from surefoot.recipe.facts import Shape
from surefoot.recipe.schema import Model as Table

HAAR = {"L": {"kind": "haar", "levels": 3}}


def table(**changes: Any) -> Table:
    """A small model's table of a recipe."""
    return Table.model_validate({"dim": 32, "layers": 2, "mixers": HAAR, **changes})


def shape(recipe: Table, vocab: int = 64) -> Shape:
    return Shape(
        dim=recipe.dim,
        layers=recipe.layers,
        heads=recipe.heads,
        kv_heads=recipe.kv_heads or recipe.heads,
        vocab=vocab,
        seq_len=32,
        value_embeddings=recipe.value_embeddings,
    )


def made(checkpointing: bool = False, **changes: Any) -> Model:
    recipe = table(**changes)
    return build(recipe, shape(recipe), 0, checkpointing=checkpointing)


def shaken(model: Model) -> Model:
    """Put random values where zeros hide what a layer does."""
    source = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1 and not weight.any():
                std = 1 / math.sqrt(weight.shape[1])
                weight.copy_(torch.randn(weight.shape, generator=source) * std)
    return model


def batch(rows: int = 4, time: int = 17) -> Batch:
    source = torch.Generator().manual_seed(4)
    ids = torch.randint(64, (rows, time + 1), generator=source)
    targets = ids[:, 1:].clone()
    targets[0, :3] = IGNORED
    return Batch(ids[:, :-1], targets, valid=int((targets >= 0).sum()))


def test_parameters_have_the_names_that_checkpoints_rely_on() -> None:
    names = {name for name, _ in made(tied=False, layers=1).named_parameters()}
    assert names == {
        "embedding.weight",
        "layers.0.norm_mixer.weight",
        "layers.0.mixer.gains",
        "layers.0.mixer.value.weight",
        "layers.0.mixer.gate.weight",
        "layers.0.mixer.out.weight",
        "layers.0.norm_ffn.weight",
        "layers.0.ffn.gate.weight",
        "layers.0.ffn.up.weight",
        "layers.0.ffn.down.weight",
        "head.norm.weight",
        "head.weight",
    }


CONFIGS: list[dict[str, Any]] = [
    {},
    {"tied": False},
    {"ffn": {"kind": "relu2"}},
    {"ffn": {"width": 100}},
    {"layers": 5, "pattern": "LC", "mixers": HAAR | {"C": {"kind": "haar", "gains": "channel"}}},
    {"layers": 4, "value_embeddings": 2, "kv_heads": 2},
    {"layers": 6, "value_embeddings": 2, "kv_heads": 2, "mixers": {"L": {"kind": "full"}}},
    {"layers": 4, "pattern": "LW", "mixers": HAAR | {"W": {"kind": "windowed", "window": 8}}},
    {"dim": 96, "heads": 3, "head": {"logit_cap": 30.0}},
]


@pytest.mark.parametrize("changes", CONFIGS, ids=str)
def test_the_forecast_counts_each_role_as_the_built_model_has_it(changes: dict[str, Any]) -> None:
    recipe = table(**changes)
    with torch.device("meta"):
        model = Model(recipe, shape(recipe))
    counted: dict[str, int] = {}
    tensors = dict(model.named_parameters())
    for name, declared in declarations(model).items():
        counted[declared.role] = counted.get(declared.role, 0) + tensors[name].numel()
    assert forecast_parameters(recipe, shape(recipe)) == counted


@pytest.mark.parametrize(
    ("total", "dim", "layers", "heads", "kv_heads", "width"),
    [(274_245_968 - 240, 1024, 20, 16, 4, 3456), (1_311_976 - 48, 128, 4, 4, 2, 384)],
    ids=["haar-275m", "haar-tiny"],
)
def test_sizes_are_those_summed_by_hand(total, dim, layers, heads, kv_heads, width) -> None:
    recipe = Table.model_validate(
        {
            "dim": dim,
            "layers": layers,
            "heads": heads,
            "kv_heads": kv_heads,
            "pattern": "HL",
            "mixers": {"H": {"kind": "haar"}, "L": {"kind": "full"}},
            "ffn": {"width": width},
        }
    )
    with torch.device("meta"):
        model = Model(recipe, shape(recipe, 4096))
    assert sum(forecast_parameters(recipe, shape(recipe, 4096)).values()) == total
    assert sum(p.numel() for p in model.parameters()) == total


def test_the_forecast_of_work_and_memory_grows_with_the_model() -> None:
    small, large = table(), table(layers=4)
    assert flops_per_token(large, shape(large)) < 2 * flops_per_token(small, shape(small))
    matrices = forecast_parameters(small, shape(small))["matrix"] + 64 * 32
    assert 1.0 < flops_per_token(small, shape(small)) / (6 * matrices) < 1.2
    assert activation_elements(large, shape(large)) > activation_elements(small, shape(small))
    assert layer_state(large, shape(large)) == [32 * 7.0] * 4


def test_activations_forecast_are_about_those_that_autograd_keeps() -> None:
    recipe, model, data = table(dim=64), made(dim=64), batch(4, 32)
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if all(storage.data_ptr() != p.data_ptr() for p in model.parameters()):
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss, _ = model.loss(data, {}, data.valid)
    per_token = sum(kept.values()) / 4 / data.tokens.numel()
    assert 0.7 < activation_elements(recipe, shape(recipe)) / per_token < 1.4
    assert loss.requires_grad


def test_a_pattern_is_repeated_up_the_stack() -> None:
    assert letters(table(layers=5, pattern="LS", mixers=HAAR | {"S": HAAR["L"]})) == "LSLSL"


def test_a_tied_head_is_the_embedding_itself_also_after_leaving_the_meta_device() -> None:
    model = made()
    assert model.head.unembedding() is model.embedding.weight
    assert "head.weight" not in dict(model.named_parameters())
    twin = copy.deepcopy(model)
    assert twin.head.unembedding() is twin.embedding.weight


@pytest.mark.parametrize("tied", [True, False])
def test_a_new_model_predicts_about_uniformly(tied: bool) -> None:
    data = batch()
    ce = made(tied=tied).loss(data, {}, data.valid)[1]["ce"]
    assert abs(ce - math.log(64)) < (0.2 if tied else 1e-5)


def test_first_values_depend_on_the_seed_alone() -> None:
    recipe = table()
    first, again, other = (build(recipe, shape(recipe), seed) for seed in (1, 1, 2))
    assert torch.equal(first.embedding.weight, again.embedding.weight)
    assert not torch.equal(first.embedding.weight, other.embedding.weight)


@pytest.mark.parametrize("time", [1, 2, 17])
def test_no_position_changes_an_earlier_one_or_another_row(time: int) -> None:
    model, tokens = shaken(made()).double(), batch(3, time).tokens
    logits = model(tokens)
    assert logits.shape == (3, time, 64)
    for t in range(time):
        changed = tokens.clone()
        changed[1, t:] = (tokens[1, t:] + 1) % 64
        difference = (model(changed) - logits).abs()
        assert not difference[1, :t].any()
        assert not difference[[0, 2]].any()


def test_micro_batches_add_up_to_the_step() -> None:
    model, data = shaken(made()), batch()
    loss, stats = model.loss(data, {}, data.valid)
    parts = [model.loss(part, {}, data.valid) for part in data.micro(1)]
    assert torch.allclose(sum(part[0] for part in parts), loss, rtol=1e-6)
    for name in ("ce", "entropy", "z2", "logit_sat_share"):
        assert torch.allclose(sum(part[1][name] for part in parts), stats[name], rtol=1e-5), name
    assert max(part[1]["logit_max"] for part in parts) == stats["logit_max"]


def test_ce_of_single_targets_is_hard_and_averages_to_the_stat() -> None:
    model, data = shaken(made(head={"label_smoothing": 0.1, "z_loss": 1e-4})), batch()
    ce = model.ce(data, {})
    right = nn.functional.cross_entropy(
        model(data.tokens).flatten(0, 1), data.targets.flatten(), reduction="none"
    ).view_as(ce)
    assert torch.allclose(ce, right, atol=1e-5)
    loss, stats = model.loss(data, {}, data.valid)
    assert torch.allclose(ce.sum() / data.valid, stats["ce"])
    assert torch.allclose(loss, stats["ce_smooth"] + 1e-4 * stats["z2"])


def test_saturated_positions_are_counted_against_the_cap() -> None:
    model, data = made(tied=False, head={"logit_cap": 30.0}), batch(1, 8)
    with torch.no_grad():
        model.embedding.weight.fill_(0)
        model.embedding.weight[:, 0] = 1
        model.embedding.weight[:32, 0] = -1  # token ids below 32 get the other sign
        model.head.weight[3, 0] = 20.0  # a normed row has rms 1, so its one entry is sqrt(32)
    stats = model.loss(replace(data, targets=data.tokens.clone()), {}, 8)[1]
    assert stats["logit_sat_share"] == 1.0
    assert abs(stats["logit_max"] - 30 * math.tanh(20 * math.sqrt(32) / 30)) < 1e-4


def test_a_probe_tells_what_each_layer_writes_and_changes_nothing() -> None:
    model, data = made(), batch()
    assert model.loss(data, {}, data.valid, probe=True)[1]["layer_out_rms"].tolist() == [0, 0]
    shaken(model)
    loss, stats = model.loss(data, {}, data.valid, probe=True)
    assert stats["layer_out_rms"].shape == (2,)
    assert (stats["layer_out_rms"] > 0.1).all()
    assert torch.equal(loss, model.loss(data, {}, data.valid)[0])
    assert not any(value.requires_grad for value in stats.values())


def test_checkpointing_gives_the_same_loss_and_gradients() -> None:
    data, gradients = batch(), []
    for checkpointing in (False, True):
        model = shaken(made(checkpointing))
        loss, _ = model.loss(data, {}, data.valid)
        loss.backward()
        gradients.append([loss.detach(), *(p.grad for p in model.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_every_parameter_gets_a_gradient_within_three_steps() -> None:
    model, data = made(tied=False), batch()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.5)
    seen: set[str] = set()
    for _ in range(3):
        optimiser.zero_grad()
        model.loss(data, {}, data.valid)[0].backward()
        seen |= {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}
        optimiser.step()
    assert seen == {name for name, _ in model.named_parameters()}


def test_positions_restart_in_each_document() -> None:
    doc = torch.tensor([[4, 4, 4, 7, 8, 8], [1, 1, 1, 1, 1, 1]])
    positions = context(torch.zeros(2, 6, dtype=torch.int64), doc=doc).positions
    assert positions.tolist() == [[0, 1, 2, 0, 0, 1], [0, 1, 2, 3, 4, 5]]


def test_a_document_is_the_same_alone_as_inside_a_row() -> None:
    model, tokens = shaken(made()).double(), batch(1, 17).tokens
    doc = torch.tensor([[0] * 5 + [1] * 12])
    packed = model(tokens, doc=doc)
    alone = torch.cat([model(tokens[:, :5]), model(tokens[:, 5:])], 1)
    assert (packed - alone).abs().max() <= 1e-12


@pytest.mark.parametrize("splits", [[17], [1] * 17, [16, 1], [1, 16], [5, 3, 9]])
def test_extending_gives_the_logits_of_one_pass(splits: list[int]) -> None:
    model, tokens = shaken(made(head={"logit_cap": 5.0})), batch().tokens
    states, parts = model.start(4, 17), []
    for part in tokens.split(splits, 1):
        logits, states = model.extend(part, states)
        parts.append(logits)
    assert (torch.cat(parts, 1) - model(tokens)).abs().max() <= 5e-5
    assert [state.length for state in states] == [17, 17]


def test_last_only_gives_the_last_logits() -> None:
    model, tokens = shaken(made()), batch().tokens
    last, _ = model.extend(tokens, model.start(4, 17), last_only=True)
    every, _ = model.extend(tokens, model.start(4, 17))
    assert last.shape == (4, 1, 64)
    assert torch.allclose(last, every[:, -1:], atol=1e-6)


class Taker(nn.Module):
    """A mixer that takes a table of token values."""

    def attach_values(self, values: nn.Module) -> None:
        self.taken = (values,)


def test_first_and_last_layers_share_value_tables_in_the_same_order() -> None:
    model = made(layers=5, value_embeddings=2, kv_heads=2)
    assert isinstance(model.value_embeddings, nn.ModuleList)
    for layer in model.layers:
        layer.mixer = Taker()
    model.attach()
    taken = [layer.mixer.__dict__.get("taken", (None,))[0] for layer in model.layers]
    first, second = model.value_embeddings
    assert taken == [first, second, None, first, second]
    assert first(torch.zeros(2, 3, dtype=torch.int64)).shape == (2, 3, 2 * 8)


def test_too_many_value_tables_are_refused_with_the_most_there_can_be() -> None:
    with pytest.raises(RecipeError, match=r"model\.value_embeddings = 2.*value_embeddings=1"):
        Model(table(layers=3), replace(shape(table(layers=3)), value_embeddings=2))


def test_widths_left_open_are_those_of_the_kind() -> None:
    model = made(dim=128)
    assert model.layers[0].ffn.up.weight.shape == (384, 128)
    assert made(ffn={"kind": "relu2"}).layers[0].ffn.up.weight.shape == (128, 32)


def test_bf16_autocast_is_close_to_fp32() -> None:
    model, data = shaken(made()), batch()
    right = model(data.tokens)
    with torch.autocast("cpu", torch.bfloat16):
        got = model(data.tokens)
        loss, stats = model.loss(data, {}, data.valid)
    assert got.dtype == torch.float32
    assert (got - right).abs().max() <= 3e-2 * right.abs().max()
    loss.backward()
    assert all(p.grad is None or p.grad.dtype == torch.float32 for p in model.parameters())
    assert stats["ce"].dtype == torch.float32


def test_it_learns_a_repeated_row() -> None:
    model, data = made(), batch(2, 16)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(30):
        optimiser.zero_grad()
        loss, stats = model.loss(data, {}, data.valid)
        loss.backward()
        optimiser.step()
    assert stats["ce"] < 1.0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # the compiler's own look
def test_a_compiled_loss_is_the_same_and_breaks_at_the_chunked_loss_alone() -> None:
    model, data = shaken(made()), batch()
    right, _ = model.loss(data, {}, data.valid)
    graphs: list[torch.fx.GraphModule] = []

    def counted(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Any:
        graphs.append(graph)
        return graph.forward

    outside_the_graph(model)
    compiled = torch.compile(model.loss, backend=counted)
    for lr in (1.0, 0.9, 0.8):  # a knob that no layer reads moves: nothing is compiled again
        got, _ = compiled(data, {"lr": lr}, data.valid)
    assert torch.equal(got, right)
    assert len(graphs) <= 4
