"""The bench of saves: that a side saves once a block and the other never."""

from pathlib import Path

import pytest

from surefoot.bench import save
from surefoot.protocol import Paired, timed
from surefoot.records import Event, Step, read
from surefoot.run.blocks import Blocks

SMALL = {
    "model.dim": 16,
    "model.heads": 2,
    "model.layers": 1,
    "model.ffn.width": 32,
    "train.batch": 2,
    "train.seq_len": 16,
    "train.threads": 1,
}
BLOCK = 4


def counted(run: Blocks) -> tuple[int, list[int]]:
    told = list(read(run.folder / "journal.jsonl"))
    saved = [r.step for r in told if isinstance(r, Event) and r.name == "saved"]
    return sum(isinstance(r, Step) for r in told), saved


@pytest.mark.parametrize("background", [True, False])
def test_one_side_saves_in_the_middle_of_each_block_and_the_other_does_a_step_more(
    background: bool, tmp_path: Path
) -> None:
    text, recipe = tmp_path / "a.txt", tmp_path / "small.toml"
    text.write_text("the rain in Spain stays mainly in the plain. " * 400)
    recipe.write_text(
        'schema = 1\nname = "small"\n[data]\ntokenizer = { kind = "byte" }\n'
        f'corpus = {{ kind = "text", path = "{text}", val_tail = 0.1 }}\n'
    )
    changes = {**SMALL, "save.background": background}
    sides = save.Sides(str(recipe), changes, tmp_path, BLOCK)
    told = Paired([timed(sides.saving) for _ in range(2)], [timed(sides.plain) for _ in range(2)])
    row = sides.row(told)
    sides.close()
    steps, saved = counted(sides.saves)
    assert steps == BLOCK // 2 + 2 * BLOCK
    assert saved[:2] == [BLOCK, 2 * BLOCK]
    assert counted(sides.never)[0] == 2 * (BLOCK + 1)
    assert counted(sides.never)[1] == []
    assert row["stall_s"] > 0 and row["save_mib"] > 0 and row["write_mib_per_s"] > 0
