"""A new run begins from weights that are there: counted, compared, and never half by accident."""

import dataclasses
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from surefoot import cli
from surefoot.errors import RunError, ShelfError, UsageError
from surefoot.learn.beginning import begin_from
from surefoot.learn.ranks import Ranks
from surefoot.recipe.load import load
from surefoot.records import Header, read
from surefoot.run.asked import Asked
from surefoot.run.beginning import adopted, compared, origin_of
from surefoot.run.opened import open_model
from surefoot.run.opening import fresh, make_learner, read_data
from surefoot.run.session import session
from surefoot.shelf.load import load as load_checkpoint
from tests.guard.rules.situations import literals

from . import runs

FIXTURES = Path(__file__).parent.parent / "fixtures"
LLAMA, EXPECTED = FIXTURES / "llama", FIXTURES / "llama_expected.safetensors"
FITS = (
    "model.dim=16", "model.layers=2", "model.heads=4", "model.kv_heads=2", "model.vocab=272",
    "model.tied=false", "model.ffn.width=24", "model.norm_eps=1e-5",
    "model.mixers.L.rope_base=50000.0",
)  # fmt: skip
SHORT = (
    "train.steps=4", "val.every=2", "save.every=2", "train.seq_len=64", "train.batch=2",
    "train.effective_batch=4", "train.threads=1", "val.batches=2", "guard.audit_after=0",
)  # fmt: skip
FEW = ("data.corpus.problems=300",)


def last(*texts: str) -> list[str]:
    """Keep of each key what is said of it last."""
    return list({text.partition("=")[0]: text for text in texts}.values())


class Told:
    """A terminal that remembers what it said."""

    def __init__(self) -> None:
        self.terminal, self.lines = runs.quiet(), list[str]()
        self.terminal.quiet = False
        self.terminal.print = self.lines.append

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


def began(run: Path, weights: Path | str, *changes: str, recipe: str = "savant-tiny") -> Told:
    """Start a run from weights, and give what was said; it must reach its end."""
    told, own = Told(), FEW if recipe == "savant-tiny" else ()
    short = tuple(last(*SHORT, *own, *changes))
    asked = Asked(what=recipe, changes=short, run=run, init_from=str(weights), timed=False)
    assert session(asked, told.terminal).exit == 0, told.text
    return told


def logits(changes: tuple[str, ...], tokens: torch.Tensor) -> torch.Tensor:
    """Compute with the fixture's weights, as a run that begins from them would."""
    off = "model.mixers.L.attn_softcap=0.0"
    origin = origin_of(str(LLAMA))
    recipe = load("savant-tiny", last(*SHORT, *FEW, *FITS, off, *changes)).recipe
    recipe, dataset = read_data(adopted(recipe, origin, frozenset()))
    assert compared(recipe, origin, dataset.tokenizer).unlike == () or changes
    learner = make_learner(recipe)
    found = begin_from(learner, origin.tensors())
    assert (len(found.taken), found.new, found.dropped) == (21, (), ())
    with torch.inference_mode():
        return learner.model(tokens)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train one small run that others begin from."""
    folder = tmp_path_factory.mktemp("base")
    run = folder / "base"
    assert runs.start(runs.place(folder), run, changes=("train.steps=4", "save.every=2")).exit == 0
    return run


def test_a_llamas_logits_are_those_that_transformers_computed() -> None:
    held = load_file(EXPECTED)
    ours = logits((), held["tokens"])
    assert held["logits"].std() > 0.5
    assert torch.allclose(ours, held["logits"], rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "other",
    ["model.norm_eps=1e-6", "model.mixers.L.rope_base=10000.0", "model.mixers.L.qk_norm=true"],
)
def test_each_option_of_the_config_counts(other: str) -> None:
    held = load_file(EXPECTED)
    assert not torch.allclose(logits((other,), held["tokens"]), held["logits"], atol=1e-3)


@pytest.mark.parametrize("tied", [False, True])
def test_a_llama_that_transformers_makes_now_has_the_same_logits(
    tied: bool, tmp_path: Path
) -> None:
    pytest.importorskip("transformers", reason="the extra surefoot[hf] is not installed")
    from tests.fixtures.write_llama import made

    model = made(tied, seed=3)
    model.save_pretrained(tmp_path / "llama")
    shutil.copy(LLAMA / "tokenizer.json", tmp_path / "llama")
    origin = origin_of(str(tmp_path / "llama"))
    changes = [*FITS, f"model.tied={str(tied).lower()}", "model.mixers.L.attn_softcap=0.0"]
    recipe = load("savant-tiny", last(*SHORT, *FEW, *changes)).recipe
    recipe, dataset = read_data(adopted(recipe, origin, frozenset()))
    assert compared(recipe, origin, dataset.tokenizer).unlike == ()
    learner = make_learner(recipe)
    begin_from(learner, origin.tensors())
    tokens = load_file(EXPECTED)["tokens"]
    with torch.inference_mode():
        assert torch.allclose(learner.model(tokens), model(tokens).logits, rtol=0, atol=1e-4)


def test_a_run_begins_from_another_with_its_weights_and_fresh_optimisers(
    base: Path, tmp_path: Path
) -> None:
    recipe = runs.place(tmp_path)
    still = [f"optim.{role}.lr=0.0" for role in ("matrix", "embedding", "scalar", "filter")]
    told = began(tmp_path / "run", base, "train.steps=1", *still, recipe=str(recipe))
    before, after = (load_checkpoint(run) for run in (base, tmp_path / "run"))
    count = len(before.model)
    assert f"{count} tensors matched, 0 new, 0 dropped; every optimiser begins afresh" in told.text
    assert all(torch.equal(before.model[name], after.model[name]) for name in before.model)
    counts = [t for name, t in after.optim.items() if name.endswith("/step")]
    assert counts and all(int(count) == 1 for count in counts)
    header = next(r for r in read(tmp_path / "run" / "journal.jsonl") if isinstance(r, Header))
    assert header.facts["init_from"]["matched"] == count
    report = (tmp_path / "run" / "report.md").read_text()
    assert f"Began from {base}/step-00000004 with fresh optimisers" in report


@pytest.mark.slow
def test_another_depth_is_counted_and_named(base: Path, tmp_path: Path) -> None:
    recipe = runs.place(tmp_path)
    told = began(tmp_path / "run", base, "model.layers=3", recipe=str(recipe))
    assert "init_differs" in told.text and "model.layers 2 there, 3 here" in told.text
    assert "new (layers.2." in told.text


def test_another_shape_is_refused_with_what_would_fit(tmp_path: Path) -> None:
    told = Told()
    asked = Asked(changes=(*SHORT, *FEW), run=tmp_path / "run", init_from=str(LLAMA), timed=False)
    ended = session(dataclasses.replace(asked, what="savant-tiny"), told.terminal)
    assert ended.exit == 3 and not (tmp_path / "run").exists()
    (finding,) = [f for f in ended.status["findings"] if f["id"] == "init_unfit"]
    assert "model.dim 16 there, 128 here" in finding["why"]
    fits = literals(finding["instead"])
    assert fits["model.tied"] is False and fits["optim.head.lr"] == 6e-3
    del fits["model.mixers.L.attn_softcap"]  # the recipe bends on purpose
    mended = [f"{key}={json.dumps(value)}" for key, value in fits.items()]
    told = began(tmp_path / "run", LLAMA, *mended)
    assert "21 tensors matched, 0 new, 0 dropped" in told.text
    assert "note   init_differs" in told.text  # a bend at 50 is next to nothing
    assert open_model(tmp_path / "run").tokenizer.decode([35, 36]) != ""


@pytest.mark.slow
def test_a_run_keeps_its_tokenizer_when_the_weights_are_gone(tmp_path: Path) -> None:
    weights = Path(shutil.copytree(LLAMA, tmp_path / "llama"))
    began(tmp_path / "run", weights, *FITS)
    shutil.rmtree(weights)
    moved = (tmp_path / "run").rename(tmp_path / "moved")
    for path in moved.glob("step-00000004"):  # as if it had been killed on the way
        shutil.rmtree(path)
    (moved / "status.json").unlink()
    assert runs.resume(moved).exit == 0
    assert cli.main(["evaluate", str(moved), "answers", "--json"]) == 0


@pytest.mark.slow
def test_killed_before_its_first_save_it_begins_from_the_weights_again(
    base: Path, tmp_path: Path
) -> None:
    recipe = runs.place(tmp_path)
    late = ("save.every=0", "val.every=0", "train.steps=6")
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    began(whole, base, *late, recipe=str(recipe))
    began(cut, base, *late, recipe=str(recipe))
    for path in [*cut.glob("step-*"), *cut.glob("[lfb]*t")]:
        path.unlink() if path.is_symlink() else shutil.rmtree(path)
    (cut / "status.json").unlink()
    lines = (cut / "journal.jsonl").read_text().splitlines(keepends=True)
    (cut / "journal.jsonl").write_text("".join(lines[:5]))
    assert runs.resume(cut).exit == 0
    runs.check_equal(cut, whole)


@pytest.mark.slow
def test_weights_that_changed_are_not_begun_from_again(base: Path, tmp_path: Path) -> None:
    weights = tmp_path / "base.safetensors"
    held = load_checkpoint(base).model
    save_file(dict(held), weights)
    recipe = runs.place(tmp_path)
    began(tmp_path / "run", weights, recipe=str(recipe))
    for path in (tmp_path / "run").glob("step-*"):
        shutil.rmtree(path)
    (tmp_path / "run" / "status.json").unlink()
    save_file({name: tensor + 1 for name, tensor in held.items()}, weights)
    with pytest.raises(RunError, match="what lies there now is something else"):
        runs.resume(tmp_path / "run")
    weights.unlink()
    with pytest.raises(RunError, match="Bring these weights back"):
        runs.resume(tmp_path / "run")


def test_a_rewind_to_the_first_step_goes_back_to_the_weights(base: Path, tmp_path: Path) -> None:
    recipe = runs.place(tmp_path)
    began(tmp_path / "run", base, recipe=str(recipe))

    stored = load(tmp_path / "run" / "recipe.toml").recipe
    alone = SimpleNamespace(ranks=Ranks())
    run = SimpleNamespace(recipe=stored, folder=tmp_path / "run", dataset=read_data(stored)[1],
                          lead=alone)  # fmt: skip
    learner, _ = fresh(run)  # pyright: ignore[reportArgumentType]
    before = load_checkpoint(base).model
    assert all(torch.equal(before[name], p) for name, p in learner.parameters.items())


@pytest.mark.slow
def test_the_same_command_again_goes_on(base: Path, tmp_path: Path) -> None:
    recipe = runs.place(tmp_path)
    run = tmp_path / "run"
    began(run, base, recipe=str(recipe))
    again = began(run, base, recipe=str(recipe))
    assert "finished at step 4" in again.text and "weights" not in again.text


def test_a_resume_has_weights_already(base: Path) -> None:
    with pytest.raises(UsageError, match="--resume goes on with an old one"):
        session(Asked(named=False, resume=str(base), init_from="x"), runs.quiet())


def test_weights_that_are_not_numbers_are_refused(base: Path, tmp_path: Path) -> None:
    held = dict(load_checkpoint(base).model)
    name = next(iter(held))
    held[name] = held[name] * torch.nan
    save_file(held, tmp_path / "sick.safetensors")
    recipe = runs.place(tmp_path)
    with pytest.raises(ShelfError, match=f"not finite .first: {name}"):
        began(tmp_path / "run", tmp_path / "sick.safetensors", recipe=str(recipe))


def test_weights_of_which_no_name_fits_are_refused(tmp_path: Path) -> None:
    save_file({"conv1.weight": torch.zeros(3)}, tmp_path / "a.safetensors")
    with pytest.raises(ShelfError, match=r"none of its 1 tensors .*conv1\.weight"):
        began(tmp_path / "run", tmp_path / "a.safetensors")
    save_file({"embedding.weight": torch.zeros(3, 4)}, tmp_path / "b.safetensors")
    with pytest.raises(ShelfError, match=r"embedding\.weight: \[3, 4\] there, \[320, 128\]"):
        began(tmp_path / "run", tmp_path / "b.safetensors")
