"""Every row of the table of faults is shown by a test that makes the fault."""

import ast
import re
from functools import cache

import pytest

from tests.house_rules import ROOT

ROW = re.compile(r"^\| `(\w+)` \|", re.MULTILINE)
SIGNALS, DISKS, KILLS = "run/test_signals.py", "run/test_disks.py", "run/test_kills.py"
BESIDE, RESUME, SAVE = "shelf/test_beside.py", "run/test_resume.py", "shelf/test_save.py"
SIFT = "learn/test_sift.py"
RANKS, CAP, DOG = "run/test_ranks.py", "run/test_memory_cap.py", "run/test_watchdog.py"
LOAD, LOCK, HOSTILE = "shelf/test_load.py", "shelf/test_lock.py", "shelf/test_hostile.py"

SHOWN: dict[str, list[tuple[str, str]]] = {
    "sig_int": [(RESUME, "test_a_signal_saves_and_leaves_with_its_code")],
    "sig_term": [
        (RESUME, "test_a_signal_saves_and_leaves_with_its_code"),
        (RESUME, "test_stopped_and_resumed_it_equals_its_twin"),
    ],
    "sig_usr1_srun": [
        (RESUME, "test_a_signal_saves_and_leaves_with_its_code"),
        (SIGNALS, "test_the_batch_script_of_the_documents_is_requeued_and_goes_on"),
    ],
    "sig_hup_pty": [(SIGNALS, "test_a_run_whose_terminal_is_closed_saves_and_leaves")],
    "nohup": [(SIGNALS, "test_what_was_ignored_stays_ignored")],
    "epipe": [(SIGNALS, "test_a_terminal_that_goes_away_without_a_signal_stops_nothing")],
    "sig_twice": [
        (SIGNALS, "test_a_second_signal_leaves_at_once_and_names_the_last_checkpoint"),
    ],
    "sig_early": [
        (SIGNALS, "test_a_signal_before_the_first_step_has_nothing_to_save"),
        (SIGNALS, "test_a_signal_in_preflight_ends_the_process_as_any_other"),
    ],
    "sig_in_save": [
        (SIGNALS, "test_a_signal_while_the_training_waits_for_a_save_makes_no_second_one"),
        (SIGNALS, "test_a_signal_during_a_save_beside_the_training_loses_no_step"),
    ],
    "sig_grace": [(SIGNALS, "test_when_the_grace_is_over_the_last_commit_stands")],
    "kill_200": [
        (KILLS, "test_killed_at_20_random_instants_and_resumed_it_equals_its_twin"),
        (KILLS, "test_killed_at_200_random_instants_and_resumed_it_equals_its_twin"),
    ],
    "kill_each_op": [
        (SAVE, "test_killed_at_any_of_forty_operations_a_run_ends_the_same"),
        (SAVE, "test_killed_at_each_operation_and_again_while_resuming_a_run_ends_the_same"),
        (BESIDE, "test_killed_at_each_operation_of_saves_beside_the_training_it_ends_the_same"),
    ],
    "kill_resume": [
        (SAVE, "test_killed_at_each_operation_and_again_while_resuming_a_run_ends_the_same"),
        (KILLS, "test_killed_at_each_change_that_opening_a_run_makes_it_equals_its_twin"),
    ],
    "kill_remedy": [
        ("run/test_rewind.py", "test_killed_around_a_rewind_and_resumed_it_equals_its_twin"),
    ],
    "lossy_disk": [
        ("shelf/test_lossy.py", "test_two_thousand_states_after_a_power_cut_lose_nothing"),
        ("shelf/test_lossy.py", "test_each_fsync_that_is_left_out_is_found"),
    ],
    "enospc_save": [
        (DISKS, "test_a_disk_that_is_full_for_a_while_costs_nothing"),
        (
            "run/test_faults.py",
            "test_a_save_that_finds_the_disk_full_is_tried_again_and_nothing_is_lost",
        ),
    ],
    "enospc_stays": [
        (DISKS, "test_a_disk_that_stays_full_ends_the_run_with_the_last_good_checkpoint_named"),
    ],
    "enospc_journal": [
        (DISKS, "test_a_disk_that_is_full_for_a_while_costs_nothing"),
        ("shelf/test_journal.py", "test_ten_minutes_without_a_disk_end_the_run_with_a_sentence"),
        ("shelf/test_journal.py", "test_64_mib_that_no_disk_takes_end_the_run"),
    ],
    "read_only": [
        (DISKS, "test_a_folder_that_is_read_only_is_refused_before_anything_is_trained"),
        (DISKS, "test_a_folder_that_becomes_read_only_ends_the_run_with_a_sentence"),
    ],
    "errno_each": [
        (SAVE, "test_one_failure_of_the_disk_at_any_operation_costs_nothing"),
        (SAVE, "test_any_failure_of_the_disk_leaves_a_run_that_can_go_on"),
    ],
    "flip_200": [
        (LOAD, "test_each_of_200_flipped_bits_is_found"),
        (KILLS, "test_each_of_200_flipped_bits_of_a_real_checkpoint_is_found"),
        (RESUME, "test_a_flipped_bit_is_found_and_the_checkpoint_before_is_used"),
    ],
    "damage_kinds": [(LOAD, "test_each_damage_of_each_file_is_found")],
    "half_copy": [(LOAD, "test_a_half_copied_folder_is_let_be")],
    "all_bad": [(LOAD, "test_all_damaged_is_a_list_and_never_a_fresh_start")],
    "pointers": [
        ("shelf/test_pointers.py", "test_a_pointer_that_is_none_is_ignored_and_costs_nothing"),
    ],
    "no_symlink": [
        ("shelf/test_pointers.py", "test_without_links_a_pointer_is_one_line_of_text"),
    ],
    "rotate_numbers": [("shelf/test_rotation.py", "test_numbers_are_ordered_as_numbers")],
    "rotate_property": [
        ("shelf/test_rotation.py", "test_no_history_loses_what_it_must_keep"),
        ("shelf/test_rotation.py", "test_a_shelf_keeps_its_newest_its_pins_and_its_milestones"),
    ],
    "save_overrun": [
        (
            "run/test_background.py",
            "test_saves_that_come_too_often_are_said_with_a_number_that_fits",
        ),
        (
            "run/test_background.py",
            "test_a_save_that_is_due_while_one_is_written_waits_and_the_wait_is_told",
        ),
    ],
    "snapshot_exact": [
        (BESIDE, "test_a_hundred_states_are_each_that_of_their_step"),
        (BESIDE, "test_a_snapshot_that_is_no_copy_is_found"),
    ],
    "writer_error": [
        ("run/test_background.py", "test_a_mistake_beside_the_training_is_raised_in_the_loop"),
        (BESIDE, "test_what_fails_beside_the_training_is_raised_where_it_is_heard"),
    ],
    "cramped": [
        (
            "run/test_background.py",
            "test_without_memory_for_a_copy_the_training_waits_and_says_so_once",
        ),
    ],
    "lock_two": [
        (LOCK, "test_a_second_process_is_told_who_holds_the_run"),
        (RESUME, "test_a_run_in_use_is_refused"),
    ],
    "lock_stale": [
        (LOCK, "test_a_stale_owner_file_stops_nobody"),
        (LOCK, "test_a_killed_owners_forked_child_holds_nothing"),
    ],
    "fence": [
        (LOCK, "test_a_run_that_was_taken_over_is_not_written_to"),
        (BESIDE, "test_a_run_that_was_taken_over_is_told_so_by_the_thread"),
    ],
    "newer": [(HOSTILE, "test_a_later_format_is_refused_and_not_taken_for_damage")],
    "optim_shapes": [
        ("learn/test_learner.py", "test_tensors_that_do_not_fit_are_refused_and_nothing_is_loaded"),
        (
            "learn/test_learner.py",
            "test_slots_that_do_not_fit_are_refused_before_any_weight_changes",
        ),
    ],
    "journal_torn": [
        ("shelf/test_journal.py", "test_a_torn_last_line_is_dropped_when_a_journal_is_opened"),
        (
            "shelf/test_journal.py",
            "test_a_journal_that_was_changed_is_named_and_still_cut_between_lines",
        ),
    ],
    "again": [(RESUME, "test_a_finished_run_started_again_says_so")],
    "no_pickle": [
        (HOSTILE, "test_a_pickle_with_all_hashes_right_is_refused"),
        (HOSTILE, "test_what_lies_beside_is_never_opened"),
    ],
    "hostile": [
        (HOSTILE, "test_a_hostile_header_is_refused"),
        (HOSTILE, "test_a_hostile_manifest_is_refused"),
        (HOSTILE, "test_what_is_no_regular_file_is_refused_without_waiting"),
        ("hostile/test_inputs.py", "test_a_hostile_input_is_refused"),
        ("hostile/test_inputs.py", "test_a_hostile_run_is_refused"),
        ("hostile/test_patterns.py", "test_no_text_makes_a_pattern_slow"),
    ],
    "traps": [
        ("hostile/test_traps.py", "test_no_part_of_a_save_runs"),
        ("hostile/test_traps.py", "test_no_log_runs"),
        ("hostile/test_traps.py", "test_nothing_beside_is_imported_by_any_start"),
        ("hostile/test_traps.py", "test_a_run_from_its_start_to_its_text_unpickles_nothing"),
    ],
    "nan_micro": [
        (SIFT, "test_weights_are_those_of_a_step_that_never_had_the_micro_batch"),
        (SIFT, "test_what_is_left_is_divided_by_its_own_targets"),
        (
            "run/test_faults.py",
            "test_a_micro_batch_that_gives_no_number_is_left_out_again_by_a_killed_and_resumed_run",
        ),
    ],
    "nan_rank": [(RANKS, "test_a_nan_on_one_rank_is_left_out_on_all")],
    "nan_grad": [
        (SIFT, "test_a_step_says_which_micro_batch_where_and_why"),
        (SIFT, "test_parts_that_are_finite_and_whose_sum_is_not_skip_the_whole_step"),
    ],
    "nan_transient": [
        (SIFT, "test_a_number_that_is_gone_when_done_again_is_the_machines"),
    ],
    "nan_forever": [
        (
            "run/test_faults.py",
            "test_nan_from_some_step_on_stops_the_run_and_never_reaches_the_weights",
        ),
        ("run/test_faults.py", "test_a_run_that_ends_in_nan_does_not_finish"),
    ],
    "no_valid_tokens": [
        (SIFT, "test_no_valid_target_left_skips_the_whole_step"),
        ("learn/test_advance.py", "test_a_batch_without_a_target_is_skipped"),
    ],
    "oom_stop": [
        (
            "run/test_oom.py",
            "test_a_run_without_memory_says_what_would_fit_and_its_last_checkpoint_stands",
        ),
        ("learn/test_oom.py", "test_the_sentence_has_the_place_and_numbers_to_paste"),
        (
            "learn/test_oom.py",
            "test_an_update_that_was_cut_short_says_that_the_weights_are_not_whole",
        ),
    ],
    "oom_split": [
        ("run/test_oom.py", "test_a_run_that_may_splits_its_step_and_resumes_identically"),
        ("learn/test_oom.py", "test_the_failed_pass_keeps_no_activations_alive"),
    ],
    "cap_clamp": [
        (CAP, "test_a_limit_that_the_device_never_reaches_caps_nothing_and_says_so"),
        (CAP, "test_a_limit_of_nothing_is_a_mistake_of_the_recipe"),
    ],
    "rank_hang": [
        (RANKS, "test_a_rank_that_hangs_is_named_and_ended_and_the_run_goes_on"),
        (DOG, "test_a_hang_is_told_after_ten_steps_or_a_minute_and_ended_after_five_times_that"),
    ],
    "rank_kill": [
        (RANKS, "test_a_killed_rank_is_started_again_and_the_run_goes_on"),
        (RANKS, "test_ten_of_ten_killed_ranks_are_started_again"),
    ],
    "no_restart_loop": [(RANKS, "test_a_stop_is_no_restart")],
    "rank_differs": [(RANKS, "test_ranks_with_other_code_are_refused_by_all")],
    "world_change": [
        (RANKS, "test_a_run_that_changes_its_ranks_on_the_way_has_the_same_bits"),
    ],
    "world_bad": [(RANKS, "test_what_two_ranks_saved_any_number_goes_on_from")],
    "sigstop": [
        (RANKS, "test_a_rank_that_is_suspended_for_a_while_ends_nothing"),
        (DOG, "test_a_process_that_was_suspended_has_not_hung"),
    ],
    "shard_gone": [
        ("data/test_tokens.py", "test_a_file_that_was_removed_is_named"),
        ("data/test_tokens.py", "test_a_passing_failure_is_tried_again_three_times"),
    ],
    "shard_truncated": [
        ("data/test_dataset.py", "test_a_truncated_token_file_is_an_error_and_not_a_crash"),
        ("data/test_tokens.py", "test_a_short_read_is_an_error_with_its_place"),
    ],
    "jsonl_each": [
        ("data/test_formats.py", "test_a_bad_line_is_refused_with_file_and_line"),
        ("data/test_formats.py", "test_a_last_line_that_was_cut_short_is_said_to_be_so"),
        ("data/test_formats.py", "test_any_bytes_give_documents_or_an_error_with_file_and_line"),
    ],
    "bin_each": [
        ("data/test_formats.py", "test_a_damaged_token_file_is_refused"),
        (
            "data/test_formats.py",
            "test_a_token_beyond_the_vocabulary_is_refused_with_file_and_offset",
        ),
    ],
    "corpus_changed": [
        (RESUME, "test_changed_data_are_refused"),
        ("run/test_replay.py", "test_what_can_not_be_made_again_says_why"),
    ],
    "tokenizer_changed": [(RESUME, "test_a_changed_tokenizer_is_refused")],
    "validation_overlap": [
        (
            "data/test_split.py",
            "test_validation_documents_that_are_trained_on_are_refused_with_examples",
        ),
    ],
    "cache_kill": [
        ("data/test_cache.py", "test_killed_preparations_end_in_what_one_alone_makes"),
        ("data/test_cache.py", "test_four_at_once_make_one"),
    ],
}


@cache
def names_in(file: str) -> frozenset[str]:
    """Name the tests of a file."""
    tree = ast.parse((ROOT / "tests" / file).read_text())
    return frozenset(one.name for one in tree.body if isinstance(one, ast.FunctionDef))


def documented() -> list[str]:
    return ROW.findall((ROOT / "docs" / "faults.md").read_text())


def test_each_documented_fault_is_shown_and_each_shown_one_documented() -> None:
    assert sorted(documented()) == sorted(SHOWN)


@pytest.mark.parametrize("fault", SHOWN)
def test_what_shows_a_fault_is_there(fault: str) -> None:
    assert SHOWN[fault], f"{fault}: no test"
    missing = [test for file, test in SHOWN[fault] if test not in names_in(file)]
    assert missing == [], f"{fault}: {missing}"


def test_a_row_without_a_test_is_found() -> None:
    assert ROW.findall("| `meteor` | a meteor | a crater | much |\n") == ["meteor"]
    assert "meteor" not in SHOWN
