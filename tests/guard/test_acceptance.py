"""Accepting by name: one refusal, one value, and no name that isn't needed."""

import pytest

from surefoot.errors import UsageError
from surefoot.guard.acceptance import Accepted, Names, accept, before
from surefoot.guard.ruling import final, found
from surefoot.records import Event, Finding, parse, row

TOY = found("toy_size", "refuse", "train.steps", 50_000, "a toy", "Write train.steps=4999")
SAVES = found("save_every", "refuse", "save.every", 0, "no save", "Write save.every=5000")
UNITS = final(found("units", "refuse", "limits.mem_gib", 21000.0, "MiB", "Write it"))
NOTE = found("data_unseen", "note", "train.steps", 1, "unread", "Write train.steps=2")


def left(findings: list[Finding], names: Names) -> list[str]:
    """Give the ids that still refuse."""
    return [finding.id for finding in accept(findings, names)[0] if finding.severity == "refuse"]


def test_a_name_lifts_its_own_refusal_and_no_other() -> None:
    told, taken = accept([TOY, SAVES, NOTE], Names(cli=("toy_size",)))
    assert [finding.severity for finding in told] == ["warn", "refuse", "note"]
    assert "accepted by name (cli)" in told[0].why
    assert taken == [Accepted("toy_size", "50000", "cli")]


def test_a_recipe_accepts_too_and_says_so() -> None:
    _, taken = accept([TOY], Names(recipe=("toy_size",)))
    assert taken == [Accepted("toy_size", "50000", "recipe")]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("toy_sise", "Did you mean toy_size"),
        ("*", "there is no such rule"),
        ("long_fp32", "nothing of this name is refused here"),
        ("data_unseen", "nothing of this name is refused here"),
        ("units", "can't be accepted"),
        ("gqa", "can't be accepted"),
        ("out_dir_mixed", "can't be accepted"),
        ("stopped", "nothing of this name"),
    ],
)
def test_a_name_that_is_unknown_unneeded_or_final_is_a_mistake(name: str, said: str) -> None:
    kept = name == "long_fp32"  # a recipe is written for devices and data of many sizes
    for names in (Names(cli=(name,)), *([] if kept else [Names(recipe=(name,))])):
        with pytest.raises(UsageError, match=said) as told:
            accept([TOY, UNITS, NOTE], names)
        assert told.value.exit == 2
        assert all(p.what and p.why and p.instead for p in told.value.problems)


def test_a_recipe_may_name_a_refusal_that_does_not_come_this_time() -> None:
    assert accept([TOY, NOTE], Names(recipe=("long_fp32",))) == ([TOY, NOTE], [])


def test_a_pin_of_another_recipe_can_not_be_accepted() -> None:
    other = final(found("profile_unpinned", "refuse", "--pin", "ab", "another", "Write it"))
    with pytest.raises(UsageError, match="nothing of this name"):
        accept([other], Names(cli=("profile_unpinned",)))


def test_what_was_accepted_holds_for_its_value_alone() -> None:
    earlier = (Accepted("save_every", "0", "recipe"), Accepted("toy_size", "50000", "cli"))
    recipe = ("save_every",)
    assert left([TOY, SAVES], Names(recipe=recipe, before=earlier)) == []
    longer = found("toy_size", "refuse", "train.steps", 60_000, "a toy", "Write train.steps=1")
    assert left([longer, SAVES], Names(recipe=recipe, before=earlier)) == ["toy_size"]
    assert left([longer, SAVES], Names(cli=("toy_size",), before=earlier)) == []
    # the recipe's name counted for the value that stood there when the run began
    other = (Accepted("save_every", "7", "recipe"),)
    assert left([SAVES], Names(recipe=recipe, before=other)) == ["save_every"]


def test_a_scheduler_may_repeat_a_name_that_was_needed_once() -> None:
    earlier = (Accepted("lr_jump", "0.012", "cli"),)
    assert accept([NOTE], Names(cli=("lr_jump",), before=earlier)) == ([NOTE], [])


def test_it_is_read_back_from_the_journal_as_it_was_written() -> None:
    one = Accepted("toy_size", "50000", "cli")
    written = parse(row(one.event(0, 0)))
    assert before([written, Event(name="saved", step=3), written]) == (one,)
