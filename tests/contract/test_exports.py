"""Every target of an export, plug-ins included, keeps what the kind promises."""

import json

import pytest

from surefoot import kinds
from surefoot.data.tokenizer import dump, load
from surefoot.recipe.load import load as load_recipe
from surefoot.shelf.export import Made

every = pytest.mark.parametrize("name", kinds.names("exports"))
SHAPES = {
    "embedding.weight": (320, 16),
    "layers.0.ffn.up.weight": (24, 16),
    "layers.0.mixer.query.weight": (16, 16),
    "head.norm.weight": (16,),
}


@pytest.fixture
def made() -> Made:
    recipe = load_recipe("starter", ["model.dim=16", "model.ffn.width=24"]).recipe
    return Made(recipe, load(dump("byte")), SHAPES)


@every
def test_no_two_tensors_get_one_name(name: str) -> None:
    target = kinds.find("exports", name)
    assert len({target.name(ours) for ours in SHAPES}) == len(SHAPES)


@every
def test_its_files_are_json_or_text_and_config_is_one_of_them(name: str, made: Made) -> None:
    files = kinds.find("exports", name).files(made, "float32")
    assert json.loads(files["config.json"])["torch_dtype"] == "float32"
    for file, content in files.items():
        assert content.decode() and "/" not in file
        assert not file.endswith(".json") or isinstance(json.loads(content), dict)


@every
def test_what_it_refuses_says_what_to_do(name: str, made: Made) -> None:
    for problem in kinds.find("exports", name).problems(made):
        assert problem.what and problem.why and problem.instead.startswith(("Train", "Write"))


@every
def test_it_says_how_its_folder_is_loaded(name: str) -> None:
    assert "{folder}" in kinds.find("exports", name).LOADED_BY
