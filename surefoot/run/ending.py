"""How a call ends: with what preflight found, or with what became of the training."""

from dataclasses import asdict

from surefoot.guard.preflight import refusals
from surefoot.guard.situation import Forecast
from surefoot.recipe import write
from surefoot.recipe.schema import Recipe
from surefoot.records import Finding
from surefoot.run.asked import Ended
from surefoot.run.folder import read_status
from surefoot.run.run import Outcome, Run
from surefoot.show.terminal import Terminal


def judged(recipe: Recipe, cost: Forecast, findings: list[Finding]) -> Ended:
    """Tell what preflight found, without starting."""
    refused = refusals(findings)
    status = {
        "state": "refused" if refused else "checked",
        "exit": 3 if refused else 0,
        "recipe": recipe.name,
        "recipe_sha": write.sha(recipe),
        "pin": write.pin(recipe),
        "steps": recipe.train.steps,
        "threads": recipe.train.threads,
        "forecast": asdict(cost),
        "findings": [asdict(finding) for finding in findings],
    }
    return Ended(3 if refused else 0, status)


def trained(run: Run, terminal: Terminal) -> Ended:
    """Train an open run and close it, whatever happens."""
    from surefoot.train import train

    terminal.samples = lambda: run.judge.samples
    try:
        with run.signals:
            run.lead.begin(run)
            # a signal may have come while the run was opened
            outcome: Outcome = run.saved_and_stopped() if run.stop_requested else train(run)
    finally:
        run.close()
    return Ended(outcome.exit, read_status(outcome.folder), outcome.folder)
