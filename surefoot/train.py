"""The loop: one way round, no side doors."""

from surefoot.learn.advance import advance
from surefoot.learn.oom import OutOfMemory
from surefoot.run.run import Outcome, Run


def train(run: Run) -> Outcome:
    """Train a run to its end, or until somebody or something stops it."""
    for step in run.remaining():  # goes back by itself after a rewind
        knobs, batch = run.plan.at(step), run.batch(step)
        try:
            report = advance(run.learner, batch, knobs, probe=run.probes(step))
        except OutOfMemory as error:
            if run.split(error):
                continue  # the same step again, fewer rows at once
            return run.saved_and_stopped()
        report = run.write(report)
        for finding in run.watch.observe(report):
            run.obey(finding)  # a remedy is an event: the plan is recomputed from it
        run.keep_if_due()
        if run.stop_requested:
            return run.saved_and_stopped()
    return run.finished()
