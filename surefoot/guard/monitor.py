"""What a monitor is, and the watch that asks them all and survives each of them."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from surefoot import kinds
from surefoot.errors import Problem, ShelfError
from surefoot.records import Finding, Record


class Monitor(Protocol):
    """Concludes findings from records; its state is a few plain numbers."""

    def observe(self, record: Record) -> list[Finding]: ...
    def state(self) -> dict[str, Any]: ...
    def restore(self, state: Mapping[str, Any]) -> None: ...


class Watch:
    """All monitors of a run.

    One whose file says `AMBIENT = True` looks at the machine and not at the training: at speed,
    memory, disk. Its state is no part of a checkpoint (a killed run and its twin save the same
    bytes), it begins anew with each process, and its findings' source begins with `machine:`.
    """

    def __init__(self, options: Mapping[str, Mapping[str, Any]], facts: Mapping[str, Any]) -> None:
        self.monitors: dict[str, Monitor] = {}
        self.ambient: set[str] = set()
        for name in kinds.names("monitors"):
            module = kinds.find("monitors", name)
            chosen = module.Options.model_validate(dict(options.get(name, {})))
            self.monitors[name] = module.Monitor(chosen, facts)
            if getattr(module, "AMBIENT", False):
                self.ambient.add(name)

    def observe(self, record: Record) -> list[Finding]:
        """Show a record to every monitor; one that fails is switched off and said so."""
        found: list[Finding] = []
        for name, monitor in list(self.monitors.items()):
            try:
                told = monitor.observe(record)
            except Exception as error:  # noqa: BLE001 (a plug-in's edge: it must not stop training)
                del self.monitors[name]
                told = [failed(name, error)]
            source = f"machine:{name}" if name in self.ambient else name
            found += [
                replace(finding, step=record.step, generation=record.generation, source=source)
                for finding in told
            ]
        return found

    def state(self) -> dict[str, Any]:
        """Give the state of every monitor of the training, for the checkpoint."""
        return {
            name: monitor.state()
            for name, monitor in self.monitors.items()
            if name not in self.ambient
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take the states back; a monitor that has none starts anew."""
        for name, own in state.items():
            try:
                if name in self.monitors:
                    self.monitors[name].restore(own)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                why = f"it is none of this monitor's ({type(error).__name__}: {error})"
                instead = "Write another step with --from, or copy the run from where it was whole"
                raise ShelfError(Problem(f"monitors.{name}", "", why, instead)) from None


def failed(name: str, error: Exception) -> Finding:
    """Say that a monitor is switched off."""
    return Finding(
        id="monitor_failed",
        severity="warn",
        what=f"guard.monitors.{name}",
        value=type(error).__name__,
        why=f"the monitor failed ({error}) and is switched off; training goes on",
        instead="Report it with the journal",
    )
