"""The guard as a callback of Hugging Face's Trainer: it sees each log, and can stop and save."""

import importlib
from pathlib import Path
from typing import Any

from surefoot.errors import Problem, UsageError
from surefoot.integrations.loop import Guard

try:
    Callback: Any = importlib.import_module("transformers").TrainerCallback
except ImportError:
    why = "the callback is one of transformers, which is not installed"
    problem = Problem(__name__, "", why, 'Write pip install "surefoot[hf]"')
    raise UsageError(problem) from None


class GuardCallback(Callback):
    """Watches a Trainer; set logging_steps=1 so that the monitors see every step."""

    def __init__(self, guard: Guard | None = None, mode: str = "act") -> None:
        self.guard, self.mode = guard, mode
        self.stopped = ""

    def on_train_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Open a journal beside the output, unless a guard was given."""
        if self.guard is None and state.is_world_process_zero:
            self.guard = Guard(run=Path(args.output_dir) / "surefoot", steps=state.max_steps)

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **rest: Any
    ) -> None:
        """Show what was logged; stop the training, saved, where that is the answer."""
        if self.guard is None or logs is None:
            return
        if "eval_loss" in logs:
            verdict = self.guard.evaluated(step=state.global_step, val_ce=logs["eval_loss"])
            self.obey(verdict, control)
        if "loss" not in logs:
            return
        verdict = self.guard.observe(
            step=state.global_step,
            loss=float(logs["loss"]),
            lr=logs.get("learning_rate"),
            grad_norm=logs.get("grad_norm"),
        )
        self.obey(verdict, control)

    def obey(self, verdict: Any, control: Any) -> None:
        """Print what was found; in act mode save and stop on a stop."""
        for finding in verdict.findings:
            print(f"surefoot {finding.severity} {finding.id}: {finding}")
        if verdict.stop and self.mode == "act":
            self.stopped = verdict.reason
            control.should_save = control.should_training_stop = True

    def on_save(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Tell that a checkpoint was written."""
        if self.guard is not None:
            self.guard.saved(state.global_step)

    def on_train_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Close the journal."""
        if self.guard is not None:
            self.guard.close("stopped" if self.stopped else "finished", self.stopped)
