"""The guard as a callback: the same findings at the same steps in Trainer and in Lightning."""

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from surefoot.integrations.loop import Guard
from surefoot.records import Event, Finding, Step, read
from tests.house_rules import ROOT

# the real libraries warn of their own affairs
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
SHIFT = 330  # the step from which the loss is not what it was
STEPS = 360


def faulty(step: int) -> float:
    """Give a loss that leaves its level, without chance."""
    wave = 0.05 * math.sin(step * 12.9898) * math.cos(step * 78.233)
    return 2.5 + 3 * math.exp(-step / 60) + wave + (1.5 if step > SHIFT else 0.0)


def plain_loop() -> list[tuple[str, str, int]]:
    """Give what a plain loop is told of that series."""
    guard = Guard()
    verdicts = [guard.observe(step=s, loss=faulty(s), lr=1e-3) for s in range(1, STEPS + 1)]
    found = [one for verdict in verdicts for one in verdict.findings]
    return first_act([(f.id, f.severity, f.step) for f in found if f.value != "silent"])


def first_act(found: list[tuple[str, str, int]]) -> list[tuple[str, str, int]]:
    """Cut behind the first finding that may have stopped the training."""
    acts = [place for place, one in enumerate(found) if one[1] == "act"]
    return found[: acts[0] + 1] if acts else found


def journaled(folder: Path) -> list[tuple[str, str, int]]:
    """Read what a callback wrote down."""
    found = [one for one in read(folder / "journal.jsonl") if isinstance(one, Finding)]
    return first_act([(f.id, f.severity, f.step) for f in found if f.value != "silent"])


def test_the_trainer_of_transformers_is_watched_and_stopped(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="the extra [hf] is not installed")
    import torch

    from surefoot.integrations.hf import GuardCallback

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))
            self.step = 0

        def forward(self, x: Any, labels: Any = None) -> dict[str, Any]:
            self.step += 1
            return {"loss": self.weight.sum() * 0.0 + faulty(self.step)}

    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path), max_steps=STEPS, logging_steps=1, per_device_train_batch_size=1,
        save_steps=100, report_to=[], disable_tqdm=True, use_cpu=True, learning_rate=1e-3,
        lr_scheduler_type="constant", save_only_model=True,
    )  # fmt: skip
    data = [{"x": torch.zeros(1), "labels": torch.zeros(1)}] * STEPS
    callback = GuardCallback()
    trainer = transformers.Trainer(
        model=Model(), args=arguments, train_dataset=data, callbacks=[callback]
    )
    trainer.train()
    assert journaled(tmp_path / "surefoot") == plain_loop()
    assert SHIFT < trainer.state.global_step <= STEPS
    records = list(read(tmp_path / "surefoot" / "journal.jsonl"))
    saves = [one.step for one in records if isinstance(one, Event) and one.name == "saved"]
    assert saves[:3] == [100, 200, 300]
    assert isinstance(records[1], Step) and records[1].lr == {"matrix": 1e-3}


def test_the_trainer_of_lightning_is_watched_and_stopped(tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning", reason="the extra [lightning] is not installed")
    import torch

    from surefoot.integrations.lightning import GuardCallback

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def training_step(self, batch: Any, place: int) -> Any:
            return self.weight.sum() * 0.0 + faulty(self.global_step + 1)

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 1e-3)

    data = torch.utils.data.DataLoader(torch.zeros(STEPS, 1))
    guard = Guard(run=tmp_path / "mine", steps=STEPS)
    trainer = lightning.Trainer(
        max_steps=STEPS, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=[GuardCallback(guard)],
        default_root_dir=tmp_path,
    )  # fmt: skip
    trainer.fit(Module(), data)
    assert journaled(tmp_path / "mine") == plain_loop()
    assert SHIFT < trainer.global_step <= STEPS
    steps = [one for one in read(tmp_path / "mine" / "journal.jsonl") if isinstance(one, Step)]
    assert [one.step for one in steps] == list(range(1, len(steps) + 1))
    assert steps[0].lr == {"matrix": 1e-3} and steps[0].grad_norm == 0.0


@pytest.mark.parametrize(
    ("module", "library"), [("hf", "transformers"), ("lightning", "lightning")]
)
def test_without_its_library_a_callback_is_a_sentence(module: str, library: str) -> None:
    code = (
        f"import sys; sys.modules[{library!r}] = None\n"
        "from surefoot.errors import UsageError\n"
        "try:\n"
        f"    import surefoot.integrations.{module}\n"
        "except UsageError as error:\n"
        f"    assert 'surefoot[{module}]' in str(error)\n"
        "else:\n    raise SystemExit('imported')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_each_callback_is_short() -> None:
    for name in ("hf", "lightning"):
        path = ROOT / "surefoot" / "integrations" / f"{name}.py"
        assert len(path.read_text().splitlines()) <= 120
