"""Recipes are read strictly, and every mistake is a sentence that says what to write instead."""

import string
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surefoot.errors import Problem, RecipeError
from surefoot.recipe.explain import all_keys
from surefoot.recipe.load import from_text, load, names
from surefoot.recipe.overrides import overrides, value_of
from surefoot.recipe.write import text as written

# (TOML, the line that is wrong, the key that is named, a part of the advice)
MISTAKES = {
    "typo": ('schema = 1\n[model]\ndmi = 64\n', 3, "model.dmi", "model.dim"),
    "typo in a choice": (
        '[model.mixers.L]\nkind = "full"\nqk_nrm = true\n', 3, "model.mixers.L.qk_nrm",
        "model.mixers.L.qk_norm"),
    "typo in an inline table": (
        '[model]\nmixers.L = {kind = "full", qk_nrm = true}\n', 2, "model.mixers.L.qk_nrm",
        "model.mixers.L.qk_norm"),
    "text for a number": ('[optim.matrix]\nlr = "2e-4"\n', 2, "optim.matrix.lr", "2e-4"),
    "text for a whole number": ('[train]\nsteps = "100"\n', 2, "train.steps", "train.steps=100"),
    "fraction for a whole number": ("[train]\nsteps = 1.5\n", 2, "train.steps", "train.steps="),
    "number for true or false": ("[model]\ntied = 1\n", 2, "model.tied", "model.tied="),
    "out of range": ("[train]\n\nsteps = 0\n", 3, "train.steps", "train.steps=1"),
    "negative lr": ("[optim.matrix]\nlr = -0.1\n", 2, "optim.matrix.lr", "optim.matrix.lr="),
    "share above one": ("[val]\nshare = 1.5\n", 2, "val.share", "val.share=1"),
    "unknown kind": ('[knobs.lr]\nkind = "wds"\n', 2, "knobs.lr.kind", 'knobs.lr.kind="wsd"'),
    "unknown choice of a word": (
        '[model.ffn]\nkind = "swigly"\n', 2, "model.ffn.kind", 'model.ffn.kind="swiglu"'),
    "unknown role": ("[optim.matrx]\nlr = 0.1\n", 1, "optim.matrx", "optim.matrix"),
    "wrong split of heads": (
        "[model]\ndim = 128\nheads = 3\n", 3, "model.heads", "model.heads=2"),
    "wrong split of key heads": (
        "[model]\nheads = 4\nkv_heads = 3\n", 3, "model.kv_heads", "model.kv_heads="),
    "letter without a mixer": ('[model]\npattern = "LX"\n', 2, "model.pattern", "model.mixers.X"),
    "knob that nobody reads": (
        '[train]\nsteps = 100\n\n[knobs.windw]\nkind = "windows"\n', 4, "knobs.windw", "windw"),
    "warm-up longer than the run": (
        "[train]\nsteps = 50\n[knobs.lr]\nwarmup = 100\n", 4, "knobs.lr.warmup",
        "knobs.lr.warmup="),
    "contradictory pair": (
        "[limits]\nmem_gib = 1.0\nmem_gb = 1.0\n", 3, "limits.mem_gb", "limits.mem_gib"),
    "a table where a number belongs": (
        "[train.steps]\nvalue = 3\n", 1, "train.steps", "train.steps="),
    "infinite": ("[train]\nclip = inf\n", 2, "train.clip", "train.clip="),
    "batch that doesn't add up": (
        "[train]\nbatch = 4\naccumulate = 2\neffective_batch = 12\n", 4, "train.effective_batch",
        "train.effective_batch=8"),
}  # fmt: skip


def problems_of(path: Path) -> list[Problem]:
    """Load a recipe that is wrong."""
    with pytest.raises(RecipeError) as caught:
        load(path)
    assert caught.value.exit == 2
    return list(caught.value.problems)


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named_with_its_line_and_what_to_write(name: str, tmp_path: Path) -> None:
    text, line, key, advice = MISTAKES[name]
    path = tmp_path / "mine.toml"
    path.write_text(text)
    found = problems_of(path)
    assert [problem.what for problem in found] == [key], found
    (problem,) = found
    assert problem.where == f"mine.toml:{line}", problem
    assert advice in problem.instead, problem
    assert problem.why, problem
    assert "\n" not in str(problem)
    for jargon in ("pydantic", "validation", "Traceback", "type=", "Options", "dict_type"):
        assert jargon not in str(problem), problem


def test_all_mistakes_of_a_file_are_shown_at_once(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        '[model]\ndmi = 64\nheads = "4"\n[model.mixers.L]\nkind = "fll"\n'
        '[optim.matrix]\nlr = "2e-4"\n[train]\nsteps = 0\nbtch = 4\n[knobs.lr]\nkind = "wds"\n'
    )
    found = {problem.what: problem.where for problem in problems_of(path)}
    assert found == {
        "model.dmi": "mine.toml:2",
        "model.heads": "mine.toml:3",
        "model.mixers.L.kind": "mine.toml:5",
        "optim.matrix.lr": "mine.toml:7",
        "train.steps": "mine.toml:9",
        "train.btch": "mine.toml:10",
        "knobs.lr.kind": "mine.toml:12",
    }


def test_contradictions_show_beside_mistakes_of_type(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[model]\nheads = 3\n[train]\nsteps = "x"\n')
    assert {problem.what for problem in problems_of(path)} == {"model.heads", "train.steps"}


def neighbours(word: str) -> Iterator[str]:
    """Change, drop or swap one letter."""
    for at in range(len(word)):
        yield word[:at] + word[at + 1 :]
        yield word[:at] + string.ascii_lowercase[(at * 7 + 3) % 26] + word[at + 1 :]
        if at + 1 < len(word):
            yield word[:at] + word[at + 1] + word[at] + word[at + 2 :]


def test_a_letter_wrong_gets_the_right_key_named() -> None:
    known = all_keys()
    right, total, missed = 0, 0, []
    for key in known:
        prefix, _, last = key.rpartition(".")
        typed = [f"{prefix}.{wrong}" if prefix else wrong for wrong in set(neighbours(last))]
        typed = sorted({one for one in typed if one and one not in known and one[-1] != "."})
        with pytest.raises(RecipeError) as caught:  # all at once, as they are shown
            load("starter", dict.fromkeys(typed, 1))
        said = {problem.what: problem.instead for problem in caught.value.problems}
        hits = [one for one in typed if f"{key}?" in said[one]]
        right, total = right + len(hits), total + len(typed)
        missed += [f"{one}: {said[one]}" for one in typed if one not in hits]
    assert total > 500
    assert right / total >= 0.95, missed


def test_a_number_in_quotes_is_not_a_number() -> None:
    with pytest.raises(RecipeError, match=r"optim\.matrix\.lr = \"2e-4\".*optim\.matrix\.lr=2e-4"):
        load("starter", ['optim.matrix.lr="2e-4"'])


def test_a_whole_number_serves_where_a_number_is_needed() -> None:
    assert load("starter", ["train.clip=2"]).recipe.train.clip == 2.0


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-3", -3),
        ("1e-4", 1e-4),
        ("true", True),
        ('"a b"', "a b"),
        ("lion", "lion"),
        ("every:4", "every:4"),
        ("data/my-file.txt", "data/my-file.txt"),
        ("[1, 2]", [1, 2]),
        ('{kind = "text", path = "x"}', {"kind": "text", "path": "x"}),
    ],
)
def test_a_value_is_toml_or_a_bare_word(text: str, value: object) -> None:
    if text == "every:4":  # a colon is not part of a bare word: the quoted form is shown
        with pytest.raises(RecipeError, match=r'a\.b="every:4"'):
            overrides([f"a.b={text}"])
    else:
        assert value_of(text) == value


@pytest.mark.parametrize("text", ["a b", "1.2.3", "[1", "{a=", "", "x\ny=1", "1\nz=2", "$HOME"])
def test_what_is_no_value_is_refused_with_the_quoted_form(text: str) -> None:
    with pytest.raises(RecipeError, match="Write"):
        overrides([f"model.dim={text}"])


def test_a_key_given_twice_is_refused() -> None:
    with pytest.raises(RecipeError, match="twice"):
        overrides(["model.dim=1", "model.dim=2"])


def test_all_wrong_overrides_are_shown_at_once() -> None:
    with pytest.raises(RecipeError) as caught:
        overrides(["model.dim=1", "model.dim=2", "a b=1", "train.steps=[1"])
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize("words", [["train=1", "train.steps=3"], ["train.steps=3", "train=1"]])
def test_a_key_and_a_key_below_it_are_refused(words: list[str]) -> None:
    with pytest.raises(RecipeError, match=r"train"):
        load("starter", words)


@pytest.mark.parametrize("empty", ["model.mixers={}", "knobs={}", "optim={}", "model={}"])
def test_an_empty_table_is_defaults_or_a_sentence(empty: str) -> None:
    try:
        load("starter", [empty])
    except RecipeError as error:
        assert error.problems


@given(
    st.recursive(
        st.integers(-(2**40), 2**40) | st.booleans() | st.text(string.printable, max_size=20),
        lambda inner: st.lists(inner, max_size=3),
        max_leaves=6,
    )
)
def test_any_value_survives_the_command_line(value: object) -> None:
    import tomli_w

    text = tomli_w.dumps({"v": value}).partition("=")[2].strip()
    if "\n" not in text.strip("[]\n ,"):
        assert overrides([f"a.b={text}"]) == {"a.b": value}


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused_in_a_sentence(text: str) -> None:
    try:
        overrides([text])
    except RecipeError as error:
        assert error.problems


def test_an_override_wins_over_the_file_and_says_so() -> None:
    loaded = load("starter", ["train.steps=77"])
    assert loaded.recipe.train.steps == 77
    assert loaded.sources["train.steps"] == "command line"


def test_a_recipe_extends_another_and_knows_where_each_key_came_from(tmp_path: Path) -> None:
    (tmp_path / "mother.toml").write_text("[train]\nsteps = 40\nbatch = 2\n[model]\nlayers = 2\n")
    child = tmp_path / "child.toml"
    child.write_text('extends = "mother"\n[train]\nbatch = 3\n')
    loaded = load(child)
    assert (loaded.recipe.train.steps, loaded.recipe.train.batch) == (40, 3)
    assert loaded.sources["train.steps"] == "mother.toml"
    assert loaded.sources["train.batch"] == "child.toml"
    assert loaded.recipe.name == "child"


@pytest.mark.parametrize(
    ("train", "steps"),
    [("minutes = 1.0", False), ("minutes = 1.0\nsteps = 9", True), ("batch = 4", True)],
)
def test_minutes_that_are_written_win_over_steps_that_are_extended(
    train: str, steps: bool, tmp_path: Path
) -> None:
    (tmp_path / "long.toml").write_text("[train]\nsteps = 5000\n")
    (tmp_path / "short.toml").write_text(f'extends = "long"\n[train]\n{train}\n')
    assert ("train.steps" in load(tmp_path / "short.toml").sources) is steps


def test_recipes_of_two_minutes_leave_the_steps_to_the_clock() -> None:
    timed = [name for name in names() if load(name).recipe.train.minutes]
    assert timed and all("train.steps" not in load(name).sources for name in timed)


def test_a_mistake_in_the_recipe_that_is_extended_is_placed_there(tmp_path: Path) -> None:
    (tmp_path / "mother.toml").write_text("[train]\nsteps = 0\n")
    child = tmp_path / "child.toml"
    child.write_text('extends = "mother"\n[train]\nbatch = 0\n')
    where = {problem.what: problem.where for problem in problems_of(child)}
    assert where == {"train.steps": "mother.toml:2", "train.batch": "child.toml:3"}


@pytest.mark.parametrize("parent", ['"child"', '"../child"', "3", '"nobody"'])
def test_extends_never_goes_in_a_circle_or_out_of_the_folder(parent: str, tmp_path: Path) -> None:
    child = tmp_path / "child.toml"
    child.write_text(f"extends = {parent}\n")
    assert len(problems_of(child)) == 1


def test_another_kind_replaces_the_whole_table(tmp_path: Path) -> None:
    (tmp_path / "mother.toml").write_text(
        '[knobs.lr]\nkind = "wsd"\nwarmup = 7\ndecay_share = 0.3\n[train]\nsteps = 400\n'
    )
    child = tmp_path / "child.toml"
    child.write_text('extends = "mother"\n[knobs.lr]\nkind = "cosine"\n')
    schedule = load(child).recipe.knobs["lr"]
    assert schedule.kind == "cosine"
    assert schedule.warmup is None  # type: ignore[attr-defined]
    kept = load(child, ['knobs.lr.kind="wsd"', "knobs.lr.warmup=9"]).recipe.knobs["lr"]
    assert (kept.kind, kept.warmup, kept.decay_share) == ("wsd", 9, 0.2)  # type: ignore[attr-defined]


def test_a_recipe_from_the_future_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("schema = 3\n")
    (problem,) = problems_of(path)
    assert (problem.what, problem.value) == ("schema", "3")
    assert "reads up to 1" in problem.why
    assert "schema = 1" in problem.instead


def test_an_empty_file_is_a_recipe_of_defaults(tmp_path: Path) -> None:
    path = tmp_path / "empty.toml"
    path.write_text("")
    recipe = load(path).recipe
    assert (recipe.name, recipe.train.steps, recipe.knobs["lr"].kind) == ("empty", 2000, "wsd")


@pytest.mark.parametrize("text", ["a = ", "[train\nsteps=1", "x = 1\nx = 2", "a = 1e"])
def test_what_is_not_toml_is_refused_with_the_place(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    (problem,) = problems_of(path)
    assert "line" in problem.why or "at end" in problem.why


def test_bytes_that_are_not_utf8_and_books_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b'name = "\xff"')
    assert "byte 8" in problems_of(path)[0].why
    path.write_text("#" * (2**20 + 1))
    assert "1 MiB" in problems_of(path)[0].why


def test_a_recipe_that_is_not_there_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(RecipeError, match="Did you mean starter"):
        load("startr")
    with pytest.raises(RecipeError, match="no such file"):
        load("nowhere.toml")


@pytest.mark.parametrize("name", names())
def test_each_recipe_survives_being_written_out(name: str) -> None:
    recipe = load(name).recipe
    assert from_text(written(recipe), "recipe.toml") == recipe


def test_a_mistake_ends_the_program_with_2_and_no_traceback(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(MISTAKES["typo"][0])
    done = subprocess.run(
        [sys.executable, "-m", "surefoot", "show", str(path)],
        capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "mine.toml:3  model.dmi = 64" in done.stderr
    assert not list(tmp_path.glob("crash*"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("thruput.band=0.2", r"no such monitor\. Write guard\.monitors\.throughput"),
        ("throughput.bnd=0.2", r"Did you mean guard\.monitors\.throughput\.band\?"),
        ("throughput.band=2", r"less than 1\.0\. Write guard\.monitors\.throughput\.band=0\.5"),
    ],
)
def test_a_monitors_options_are_read_with_the_recipe(change: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        load("starter", [f"guard.monitors.{change}"])
