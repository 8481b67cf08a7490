"""The guard as a callback of Lightning: it sees each batch's loss, and can stop the training."""

import importlib
from pathlib import Path
from typing import Any

from surefoot.errors import Problem, UsageError
from surefoot.integrations.loop import Guard

try:
    Callback: Any = importlib.import_module("lightning.pytorch").Callback
except ImportError:
    why = "the callback is one of Lightning, which is not installed"
    problem = Problem(__name__, "", why, 'Write pip install "surefoot[lightning]"')
    raise UsageError(problem) from None


class GuardCallback(Callback):
    """Watches a LightningModule; it reads the loss of each step, which waits for the device."""

    def __init__(self, guard: Guard | None = None, mode: str = "act") -> None:
        super().__init__()
        self.guard, self.mode = guard, mode
        self.stopped = ""
        self.norm: float | None = None
        self.last = -1

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """Open a journal in the trainer's folder, unless a guard was given."""
        if self.guard is None and trainer.is_global_zero:
            folder = Path(trainer.log_dir or trainer.default_root_dir) / "surefoot"
            self.guard = Guard(run=folder, steps=max(0, trainer.max_steps))

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """Measure the gradient's norm, before it is clipped."""
        grads = [one.grad for one in pl_module.parameters() if one.grad is not None]
        if grads:
            squares = sum(grad.detach().float().pow(2).sum() for grad in grads)
            self.norm = float(squares) ** 0.5

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Show the step, once the optimiser has done it."""
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        step = trainer.global_step
        if self.guard is None or loss is None or step == self.last:
            return
        self.last = step
        groups = [group for one in trainer.optimizers for group in one.param_groups]
        verdict = self.guard.observe(
            step=step,
            loss=float(loss.item()),
            lr=float(groups[0]["lr"]) if groups else None,
            grad_norm=self.norm,
        )
        self.obey(verdict, trainer)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Show the validation's loss, where one was logged as val_loss."""
        val_ce = trainer.callback_metrics.get("val_loss")
        if self.guard is not None and val_ce is not None and not trainer.sanity_checking:
            self.obey(self.guard.evaluated(step=trainer.global_step, val_ce=float(val_ce)), trainer)

    def obey(self, verdict: Any, trainer: Any) -> None:
        """Print what was found; in act mode stop on a stop."""
        for finding in verdict.findings:
            print(f"surefoot {finding.severity} {finding.id}: {finding}")
        if verdict.stop and self.mode == "act":
            self.stopped = verdict.reason
            trainer.should_stop = True

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: Any) -> None:
        """Tell that a checkpoint is written."""
        if self.guard is not None:
            self.guard.saved(trainer.global_step)

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """Close the journal."""
        if self.guard is not None:
            self.guard.close("stopped" if self.stopped else "finished", self.stopped)
