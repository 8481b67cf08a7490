"""Every mixer, plug-ins included, keeps what the kind promises."""

import pytest
import torch

from surefoot import kinds
from tests.contract import mixer_promises as promises
from tests.contract.mixer_promises import Subject


def examples(name: str) -> list:
    """Give the option sets that a choice asks to be tested with."""
    module = kinds.find("mixers", name)
    return module.examples() if hasattr(module, "examples") else [module.Options(kind=name)]


EVERY = [(name, i) for name in kinds.names("mixers") for i in range(len(examples(name)))]
slow = pytest.mark.slow
VARIANTS = [
    pytest.param(name, i, id=f"{name}-{i}", marks=() if i == 0 else slow) for name, i in EVERY
]
every = pytest.mark.parametrize(("name", "index"), VARIANTS)


def times(*quick: int, more: tuple[int, ...] = ()) -> pytest.MarkDecorator:
    """Run at these lengths, and at more of them in the full suite."""
    return pytest.mark.parametrize(
        "time", [*quick, *(pytest.param(time, marks=slow) for time in more)]
    )


DTYPES = pytest.mark.parametrize(
    "dtype", [torch.float32, pytest.param(torch.float64, marks=slow)], ids=["fp32", "fp64"]
)
TIMES = times(1, 2, 17, more=(64, 65, 131))


def subject(name: str, index: int, dtype: torch.dtype = torch.float32) -> Subject:
    return Subject(name, examples(name)[index], dtype)


@every
@TIMES
def test_no_output_sees_a_later_token(name, index, time):
    promises.sees_no_later_token(subject(name, index), time)


@every
def test_no_output_has_a_gradient_from_a_later_input(name, index):
    promises.has_a_lower_jacobian(subject(name, index))


@every
@TIMES
@DTYPES
def test_training_prefill_and_decoding_agree(name, index, time, dtype):
    promises.trains_as_it_decodes(subject(name, index, dtype), time)


@every
@times(1, 17, more=(65,))
def test_a_row_never_touches_another(name, index, time):
    promises.keeps_rows_apart(subject(name, index), time)


@every
@DTYPES
@pytest.mark.parametrize(
    "lengths", [(1, 1, 9, 6), pytest.param((1, 1, 40, 63, 26), marks=slow)], ids=str
)
def test_a_document_is_what_it_is_alone(name, index, lengths, dtype):
    promises.keeps_documents_apart(subject(name, index, dtype), lengths)


@every
@times(17, more=(65,))
def test_a_prefix_gives_the_prefix_of_the_output(name, index, time):
    promises.ignores_what_follows(subject(name, index), time)


@every
def test_a_restored_state_gives_the_same_bits(name, index):
    promises.comes_back_to_a_snapshot(subject(name, index))


@every
def test_a_fresh_mixer_writes_nothing(name, index):
    promises.begins_as_the_identity(subject(name, index))


@every
def test_gradients_are_finite(name, index):
    promises.has_finite_gradients(subject(name, index))


@every
def test_every_parameter_gets_a_gradient_in_three_steps(name, index):
    promises.teaches_every_parameter(subject(name, index))


@every
def test_roles_parameters_work_and_state_are_as_declared(name, index):
    promises.declares_what_it_is(subject(name, index))


@every
def test_weights_survive_the_state_dict(name, index):
    promises.survives_its_state_dict(subject(name, index))


@every
def test_a_mixer_built_on_meta_is_the_same_mixer(name, index):
    promises.can_be_built_on_meta(subject(name, index))


@every
@times(17, more=(131,))
@DTYPES
def test_the_fast_path_equals_the_plain_formulas(name, index, time, dtype):
    promises.equals_its_plain_twin(subject(name, index, dtype), time)


@every
def test_bf16_stays_near_fp32(name, index):
    promises.stands_bf16(subject(name, index))


@every
def test_statistics_are_plain_numbers(name, index):
    promises.tells_plain_numbers(subject(name, index))
