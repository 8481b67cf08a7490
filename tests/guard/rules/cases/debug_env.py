"""Debugging that was left on."""

from tests.guard.rules.situations import Case


def unset(case, finding):
    return case.with_facts(environment={}, flash_only=False)


LOGS = {"environment": {"TORCH_LOGS": "+sdp"}}
SICK = [
    Case("debug_env", "warn", facts=LOGS, said="unset TORCH_LOGS", mend=unset),
    Case("debug_env", "warn", facts={"environment": {"NCCL_DEBUG": "INFO"}}, mend=unset),
    Case("debug_env", "warn", facts={"flash_only": True}, mend=unset),
]
HEALTHY = [
    Case("debug_env", changes={"train.steps": 100}, facts=LOGS),
    Case("debug_env", facts={"environment": {"NCCL_DEBUG": "WARN", "TORCH_HOME": "here"}}),
]
