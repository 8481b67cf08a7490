"""Weights to begin from are looked at before they are read, and pickles are never read at all."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from surefoot.errors import UsageError
from surefoot.shelf import origin
from surefoot.shelf.origin import Origin, read

LLAMA = Path(__file__).parent.parent / "fixtures" / "llama"
NEVER = "surefoot never unpickles: a pickle is a program"


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    """Give a folder of a Llama that may be spoilt."""
    return Path(shutil.copytree(LLAMA, tmp_path / "llama"))


def said(place: Path) -> str:
    with pytest.raises(UsageError) as told:
        read(place)
    assert told.value.exit == 2
    (problem,) = told.value.problems
    assert problem.what == "--init-from" and problem.why and problem.instead
    return str(problem)


def change(folder: Path, **keys: Any) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text()) | keys
    path.write_text(json.dumps({key: value for key, value in config.items() if value != "absent"}))


@pytest.mark.parametrize("name", ["step_500.pt", "model.safetensors", "weights"])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_is_known_by_its_first_bytes_whatever_it_is_called(
    name: str, zipped: bool, tmp_path: Path
) -> None:
    held = {"model": {"a.weight": torch.ones(2)}}
    torch.save(held, tmp_path / name, _use_new_zipfile_serialization=zipped)
    told = said(tmp_path / name)
    assert NEVER in told
    assert "Convert it where you trust it, to safetensors: python -c" in told


def test_the_advice_turns_a_pickle_into_what_is_read(tmp_path: Path) -> None:
    shared = torch.arange(6.0).reshape(2, 3)
    torch.save({"model": {"a.weight": shared, "b.weight": shared}}, tmp_path / "step_500.pt")
    told = said(tmp_path / "step_500.pt")
    program = told.split("python -c '")[1].removesuffix("'")
    program = program.replace('"step_500', f'"{tmp_path}/step_500')
    exec(program, {})  # noqa: S102 (the very words that a user is told to run)
    found = read(tmp_path / "step_500.safetensors")
    assert torch.equal(found.tensors()["b.weight"], shared)


@pytest.mark.parametrize("name", ["model.bin", "model.pt", "model.pth", "a.ckpt", "a.pkl"])
def test_a_name_of_pickles_is_refused_unread(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"anything")
    assert NEVER in said(tmp_path / name)
    assert NEVER in said(tmp_path)  # and so is the folder that has nothing else


def test_a_folder_of_torchs_own_distributed_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".metadata").write_bytes(b"\x80\x02")
    assert NEVER in said(tmp_path)


def test_safetensors_beside_a_pickle_are_what_is_read(llama: Path) -> None:
    torch.save({}, llama / "pytorch_model.bin")
    assert len(read(llama).slots) == 21


def test_a_llama_has_our_names_and_a_recipes_table() -> None:
    found = read(LLAMA)
    assert "layers.1.mixer.query.weight" in found.slots
    assert not any("proj" in name for name in found.slots)
    assert found.slots["embedding.weight"].shape == (272, 16)
    assert found.tokenizer == LLAMA / "tokenizer.json"
    assert found.model["mixers"]["L"] | found.model["ffn"] == {
        "kind": "swiglu",
        "width": 24,
        "qk_norm": False,
        "qk_gain": False,
        "rope_base": 50_000.0,
        "rope_fraction": 1.0,
        "attn_softcap": 0.0,
    }
    keys = ("dim", "layers", "heads", "kv_heads", "vocab", "tied", "norm_eps")
    assert [found.model[key] for key in keys] == [16, 2, 4, 2, 272, False, 1e-5]


def test_an_older_config_says_the_same(llama: Path) -> None:
    new = read(llama).model
    change(llama, rope_parameters="absent", head_dim="absent", rope_theta=50_000.0)
    assert read(llama).model == new
    change(llama, rope_theta="absent", rms_norm_eps="absent", num_key_value_heads="absent",
           tie_word_embeddings="absent")  # fmt: skip
    told = read(llama).model
    assert (told["norm_eps"], told["mixers"]["L"]["rope_base"]) == (1e-6, 10_000.0)
    assert (told["kv_heads"], told["tied"]) == (4, False)


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"model_type": "mistral"}, "model_type is 'mistral'"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 1.0}}, "scaled ('llama3')"),
        ({"rope_parameters": "absent", "rope_scaling": {"type": "linear"}}, "scaled ('linear')"),
        ({"head_dim": 8}, "head_dim is 8"),
        ({"hidden_size": "absent"}, "hidden_size is missing"),
        ({"num_attention_heads": True}, "num_attention_heads is missing"),
    ],
)
def test_what_a_llama_has_that_we_do_not_is_named(keys: Any, named: str, llama: Path) -> None:
    change(llama, **keys)
    assert named in said(llama)


def test_biases_are_named_and_never_left_out(llama: Path) -> None:
    save_file({"model.layers.0.self_attn.q_proj.bias": torch.zeros(16)}, llama / "b.safetensors")
    index = {"weight_map": {"a": "model.safetensors", "b": "b.safetensors"}}
    (llama / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "it has biases (model.layers.0.self_attn.q_proj.bias)" in said(llama)


def test_a_tied_head_is_the_embedding_and_counts_once(llama: Path) -> None:
    change(llama, tie_word_embeddings=True)
    found = read(llama)
    assert "head.weight" not in found.slots and found.model["tied"] is True


def test_weights_in_several_files_are_those_of_one(llama: Path) -> None:
    whole = read(llama).tensors()
    held = {name: t.clone() for name, t in origin.tensors.read(llama / "model.safetensors").items()}
    (llama / "model.safetensors").unlink()
    names = sorted(held)
    shards = {"model-1.safetensors": names[:9], "model-2.safetensors": names[9:]}
    for file, part in shards.items():
        save_file({name: held[name] for name in part}, llama / file)
    assert "no model.safetensors.index.json says" in said(llama)
    index = {"weight_map": {name: file for file, part in shards.items() for name in part}}
    (llama / "model.safetensors.index.json").write_text(json.dumps(index))
    found = read(llama).tensors()
    assert whole.keys() == found.keys()
    assert all(torch.equal(whole[name], found[name]) for name in whole)


@pytest.mark.parametrize("name", ["../other.safetensors", "/etc/passwd", "a/../../b"])
def test_an_index_that_leads_out_of_its_folder_is_refused(name: str, llama: Path) -> None:
    index = {"weight_map": {"a": name}}
    (llama / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "which is no file of this folder" in said(llama)


def test_a_cache_of_models_whose_files_are_links_is_read(llama: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    for path in llama.iterdir():
        (snapshot / path.name).symlink_to(path)
    assert read(snapshot).slots == read(llama).slots
    assert read(snapshot / "model.safetensors").model == read(llama).model


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda f: (f / "config.json").unlink(), "config.json, which says how"),
        (lambda f: (f / "config.json").write_text("{"), "not JSON"),
        (lambda f: (f / "model.safetensors").write_bytes(b"\x00" * 40), "no safetensors file"),
        (lambda f: (f / "model.safetensors").write_bytes(b""), "no safetensors file"),
        (lambda f: (f / "model.safetensors").unlink(), "no safetensors file in it"),
        (lambda f: shutil.rmtree(f), "there is no such run, folder or file"),
    ],
)
def test_what_can_not_be_read_is_a_sentence(spoil: Any, named: str, llama: Path) -> None:
    spoil(llama)
    assert named in said(llama)


def test_quantised_weights_are_no_ordinary_numbers(tmp_path: Path) -> None:
    save_file({"a.weight": torch.zeros(2, dtype=torch.int8)}, tmp_path / "a.safetensors")
    assert "a.weight is stored as I8" in said(tmp_path)


def test_other_bytes_have_another_hash(llama: Path) -> None:
    before = read(llama)
    held = origin.tensors.read(llama / "model.safetensors")
    held["model.norm.weight"] += 1e-3
    save_file(held, llama / "model.safetensors")
    assert isinstance(before, Origin) and read(llama).sha != before.sha


@pytest.mark.parametrize("length", [0x280, 0x380, 0x480, 0x580])
def test_a_header_whose_length_looks_like_a_pickles_beginning_is_read(
    length: int, tmp_path: Path
) -> None:
    head = b'{"a.weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'.ljust(length)
    path = tmp_path / "a.safetensors"
    path.write_bytes(length.to_bytes(8, "little") + head + bytes(4))
    assert path.read_bytes()[:2] == bytes([0x80, length >> 8])
    assert set(read(path).slots) == {"a.weight"}
