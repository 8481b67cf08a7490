"""A model leaves as others read it, whole or not at all, and what they can't compute is refused."""

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from surefoot import cli
from surefoot.learn.weights import load_weights
from surefoot.run import exporting
from surefoot.run.beginning import adopted, compared, origin_of
from surefoot.run.opened import open_model
from surefoot.run.opening import make_learner, read_data
from surefoot.shelf import export as shelf_export
from surefoot.shelf.load import load as load_checkpoint

from . import runs
from .test_init_from import began

LLAMA = """
schema = 1
name = "small-llama"
[model]
dim = 16
layers = 2
heads = 4
kv_heads = 2
tied = false
ffn = { kind = "swiglu", width = 24 }
[model.mixers.L]
kind = "full"
qk_norm = false
rope_base = 50000.0
[data]
corpus = { kind = "text", path = "text.txt", split = "blank_line" }
tokenizer = { kind = "bpe", vocab = 300 }
[val]
every = 0
share = 0.2
prompts = []
[train]
steps = 6
batch = 2
seq_len = 64
threads = 1
[save]
every = 3
[guard]
audit_after = 0
"""


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a model that a Llama computes; its output maps are zero no longer."""
    folder = tmp_path_factory.mktemp("llama")
    assert runs.start(runs.place(folder, LLAMA), folder / "run").exit == 0
    return folder / "run"


@pytest.fixture(scope="module")
def haar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a model that no Llama computes."""
    folder = tmp_path_factory.mktemp("haar")
    changes = ("train.steps=2", "val.every=0")
    assert runs.start(runs.place(folder), folder / "run", changes=changes).exit == 0
    return folder / "run"


def test_any_model_leaves_as_safetensors_and_comes_back_bit_by_bit(
    haar: Path, tmp_path: Path
) -> None:
    made = exporting.export(haar, None, "safetensors", tmp_path / "out", "fp32")
    assert made.step == 2 and set(made.files) == {
        "README.md", "config.json", "model.safetensors", "tokenizer.json"
    }  # fmt: skip
    held, there = load_checkpoint(haar).model, load_file(tmp_path / "out" / "model.safetensors")
    assert set(held) == set(there)
    assert all(torch.equal(held[name], there[name]) for name in held)
    told = began(
        tmp_path / "run", tmp_path / "out", "train.steps=1", "train.seq_len=16",
        recipe=str(haar.parent / "tiny.toml"),
    )  # fmt: skip
    assert f"{len(held)} tensors matched, 0 new, 0 dropped" in told.text


@pytest.mark.parametrize("step", ["3", "latest"])
def test_a_llama_leaves_by_its_usual_names_and_computes_the_same(
    llama: Path, step: str, tmp_path: Path
) -> None:
    made = exporting.export(llama, step if step == "latest" else 3, "hf", tmp_path / "out", "fp32")
    config = json.loads((made.folder / "config.json").read_text())
    assert (config["model_type"], config["rope_theta"]) == ("llama", 50_000.0)
    assert (config["eos_token_id"], config["max_position_embeddings"]) == (1, 64)
    there = load_file(made.folder / "model.safetensors")
    assert "model.layers.1.self_attn.q_proj.weight" in there and "lm_head.weight" in there
    # read back as anybody's Llama: through config.json and the names alone
    opened, origin = open_model(llama, made.step), origin_of(str(made.folder))
    recipe = adopted(opened.recipe, origin, frozenset())
    recipe, dataset = read_data(recipe)
    assert compared(recipe, origin, dataset.tokenizer).unlike == ()
    learner = make_learner(recipe)
    load_weights(learner.model, origin.tensors())
    tokens = torch.arange(12)[None]
    with torch.inference_mode():
        assert torch.equal(learner.model(tokens), opened.model(tokens))


def test_bf16_rounds_each_weight_once(llama: Path, tmp_path: Path) -> None:
    exporting.export(llama, None, "hf", tmp_path / "out", "bf16")
    there = load_file(tmp_path / "out" / "model.safetensors")
    held = load_checkpoint(llama).model["embedding.weight"]
    assert torch.equal(there["model.embed_tokens.weight"], held.bfloat16())
    assert json.loads((tmp_path / "out" / "config.json").read_text())["torch_dtype"] == "bfloat16"


def test_what_a_llama_has_no_word_for_is_refused_by_name(
    haar: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["export", str(haar), "--to", "hf", "--out", str(tmp_path / "out")]) == 3
    said = capsys.readouterr().err
    for key in ("model.mixers.L.kind", "model.mixers.H.kind", "data.tokenizer.kind"):
        assert re.search(rf"{re.escape(key)} = .*", said), said
    assert "write --to safetensors" in said and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "change",
    [
        "model.mixers.L.qk_norm=true", "model.mixers.L.attn_softcap=30.0",
        "model.mixers.L.attn_scale=0.5", "model.mixers.L.rope_fraction=0.5",
        "model.head.logit_cap=30.0", "model.value_embeddings=1", "model.ffn.kind=relu2",
    ],
)  # fmt: skip
def test_each_option_that_changes_what_is_computed_is_refused(change: str, tmp_path: Path) -> None:
    recipe = runs.place(tmp_path, LLAMA)
    assert runs.start(recipe, tmp_path / "run", changes=(change, "train.steps=1")).exit == 0
    with pytest.raises(exporting.RunError, match=re.escape(change.partition("=")[0])) as refused:
        exporting.export(tmp_path / "run", None, "hf", tmp_path / "out", "fp32")
    assert refused.value.exit == 3


def test_a_folder_that_is_there_and_one_whose_home_is_not_are_refused(
    llama: Path, tmp_path: Path
) -> None:
    for out, said in ((tmp_path, "there already"), (tmp_path / "a" / "b", "not there")):
        with pytest.raises(exporting.UsageError, match=said):
            exporting.export(llama, None, "hf", out, "fp32")
    assert not list(tmp_path.iterdir())


def test_a_disk_that_fails_leaves_nothing_behind(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(shelf_export.Disk):
        def before(self, operation: str, path: Path) -> None:
            if path.name == "config.json":
                raise OSError(28, "No space left on device")

    monkeypatch.setattr(shelf_export, "Disk", Full)
    with pytest.raises(exporting.RunError, match="No space left"):
        exporting.export(llama, None, "hf", tmp_path / "out", "fp32")
    assert not list(tmp_path.iterdir())


def test_what_reads_back_otherwise_is_said(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = shelf_export.tensors.write

    def other(path: Path, held: dict[str, torch.Tensor], disk: shelf_export.Disk) -> None:
        sound(path, {name: tensor + 1 for name, tensor in held.items()}, disk)

    monkeypatch.setattr(shelf_export.tensors, "write", other)
    with pytest.raises(exporting.RunError, match="not what was written"):
        exporting.export(llama, None, "hf", tmp_path / "out", "fp32")


def test_the_verb_says_what_was_written_and_what_was_not_verified(
    llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out")
    asked = ["export", str(llama), "--to", "hf", "--out", out, "--no-verify"]
    assert cli.main([*asked, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["step"], told["to"], told["verified"]) == (6, "hf", None)
    assert set(told["files"]) == {path.name for path in Path(out).iterdir()}
    asked[asked.index(out)] = str(tmp_path / "again")
    assert cli.main(asked) == 0
    assert "not verified" in capsys.readouterr().out


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_transformers_computes_the_same(
    llama: Path, dtype: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("transformers", reason="the extra surefoot[hf] is not installed")
    from transformers import AutoTokenizer

    out = str(tmp_path / "out")
    asked = ["export", str(llama), "--to", "hf", "--out", out, "--verify", "--dtype", dtype]
    assert cli.main([*asked, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verified"]["fine"]
    theirs, ours = AutoTokenizer.from_pretrained(out), open_model(llama).tokenizer
    text = "red stone walks under nine\nsmall rivers"
    assert theirs.encode(text) == ours.encode(text)
