"""What every fault promises: a sentence, a label, and a way to be put into a run."""

import pytest

from surefoot import kinds
from surefoot.bench.watched.fault import Fault
from surefoot.guard import playbook

KNOWN = {
    *kinds.names("monitors"),
    *(also for name in kinds.names("monitors")
      for also in getattr(kinds.find("monitors", name), "ALSO", {})),
}  # fmt: skip


@pytest.mark.parametrize("name", kinds.names("faults"))
def test_a_fault_says_what_it_does_and_how_it_is_put_in(name: str) -> None:
    made = kinds.find("faults", name)
    assert kinds.sentences("faults")[name].endswith(".")
    assert hasattr(made, "bend") or hasattr(made, "plant")
    assert isinstance(made.FAULT, Fault)


@pytest.mark.parametrize("name", kinds.names("faults"))
def test_its_label_names_findings_that_there_are_and_a_time(name: str) -> None:
    fault: Fault = kinds.find("faults", name).FAULT
    assert fault.finds and set(fault.finds) <= KNOWN
    assert 1 <= fault.within <= 600 and fault.onset >= 1


@pytest.mark.parametrize("name", kinds.names("faults"))
def test_what_is_called_curable_has_an_answer_in_the_playbook(name: str) -> None:
    fault: Fault = kinds.find("faults", name).FAULT
    answers = [playbook.ANSWERS.get(one, ()) for one in fault.finds]
    assert not fault.curable or any(columns and columns != playbook.STOP for columns in answers)
