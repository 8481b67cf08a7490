"""The run folder's tables and sums: drawn from the journal, with a unit in every name."""

import csv
import io
import json
import math
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from surefoot.records import End, Record, line, parse
from surefoot.show import columns
from surefoot.show.columns import METRICS, VAL, Tables, cell, metrics_header
from surefoot.show.recipe_lines import keys, plan_table, recipe_lines
from surefoot.show.report import report
from surefoot.show.summary import Status, metrics, quantile

from .story import BEGAN, SAMPLES, recipe, step, story


def journaled(records: Iterable[Record]) -> list[Record]:
    """Give records as they come back from the journal."""
    read = [parse(json.loads(line(record))) for record in records]
    return [record for record in read if record is not None]


def read_csv(text: str) -> list[dict[str, str]]:
    """Read a table."""
    return list(csv.DictReader(io.StringIO(text)))


def test_the_columns_are_those_that_were_promised() -> None:
    told = metrics_header(recipe("optim={matrix={lr=0.01}}"))
    roles = ["matrix", "embedding", "value_embedding", "table", "filter", "scalar"]
    assert ",".join(told) == (
        "step,generation,tokens,time_s,loss,ce,entropy,grad_norm,"
        + "".join(f"lr_{role}," for role in roles)
        + "lr,momentum,tok_per_s,step_s,gpu_mem_alloc_mib,gpu_mem_alloc_gib,"
        "gpu_mem_reserved_mib,gpu_mem_reserved_gib,rss_mib,rss_gib,skipped"
    )
    assert "ce_smooth" in metrics_header(recipe("model.head.label_smoothing=0.1"))
    assert ",".join(columns.VAL_HEADER) == (
        "step,generation,tokens,time_s,val_ce,val_bpb,val_tokens,best"
    )


def test_tables_rebuilt_from_the_journal_equal_the_live_ones() -> None:
    live, texts = Tables(recipe()), {}
    texts = live.headers()
    for record in story():
        for name, text in live.lines(record):
            texts[name] += text
    assert Tables(recipe()).whole(journaled(story())) == texts


def test_tables_tell_what_was_measured() -> None:
    texts = Tables(recipe()).whole(list(story()))
    rows, vals = read_csv(texts[METRICS]), read_csv(texts[VAL])
    assert len(rows) == 60
    assert len(vals) == 3
    assert rows[9]["time_s"] == "12.5"
    assert rows[9]["rss_mib"] == "310.0"
    assert float(rows[9]["rss_gib"]) == pytest.approx(310 / 1024, abs=5e-4)
    assert rows[9]["gpu_mem_alloc_mib"] == ""
    assert (rows[29]["loss"], rows[29]["skipped"]) == ("nan", "1")
    assert vals[0]["tokens"] == str(20 * 2048)
    assert vals[0]["best"] == "1"


def test_21_gib_are_21504_mib() -> None:
    record = step(1, gpu_mem_alloc_mib=21504.0)
    row = dict(zip(metrics_header(recipe()), columns.metrics_row(
        record, metrics_header(recipe()), BEGAN), strict=True))  # fmt: skip
    assert (row["gpu_mem_alloc_mib"], row["gpu_mem_alloc_gib"]) == (21504.0, 21.0)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""), (3, "3"), (-2.5, "-2.5"), (float("inf"), "nan"), (float("nan"), "nan"),
        ("=1+1", "'=1+1"), ("@x", "'@x"), ("+x", "'+x"), ("-x", "'-x"), ("\tx", "'\tx"),
        ("a,b", '"a,b"'), ('a"b', '"a""b"'), ("a\nb", '"a\nb"'), ([128.0, 64.0], "128.0 64.0"),
        (True, "True"),
    ],
)  # fmt: skip
def test_no_cell_is_a_formula(value: object, text: str) -> None:
    assert cell(value) == text


@given(st.lists(st.floats() | st.text(max_size=9) | st.none(), min_size=1, max_size=6))
def test_every_line_is_read_back_as_it_was_meant(values: list[Any]) -> None:
    (read,) = csv.reader(io.StringIO(columns.line(values), newline="")) or [[""]]
    assert len(read) in (len(values), 0)
    for value, text in zip(values, read, strict=False):
        if isinstance(value, float) and math.isfinite(value):
            assert float(text) == value
        assert text[:1] not in ("=", "@", "\t", "\r")


def test_the_sums_of_a_run() -> None:
    told = metrics(story())
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert (told["steps"], told["tokens"], told["exit"]) == (60, 60 * 2048, 0)
    assert told["final"] == {"ce": 5.0, "bpb": 1.5, "loss": 5.0}
    assert told["best"] == {"step": 60, "ce": 5.0}
    assert told["tok_per_s"] == {"median": 1638.4, "p10": 1638.4, "p90": 1638.4}
    assert told["peak"] == {"rss_mib": 360.0, "rss_gib": 0.352}
    assert told["counts"] == {
        "nan": 1, "oom": 0, "crash": 0, "skipped": 1, "remedies": 1, "resumed": 0,
        "findings": {"act": 1, "note": 1},
    }  # fmt: skip
    assert told["forecast"]["forecast_s"] == 80.0
    assert told["forecast"]["measured_s"] == pytest.approx(74.9)


def test_the_sums_of_nothing_are_absent_and_not_zero() -> None:
    told = metrics([])
    assert told["best"] is None
    assert told["final"]["ce"] is None
    assert told["tok_per_s"]["median"] is None


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=30), st.floats(0, 1))
def test_a_quantile_lies_between_the_ends(values: list[float], share: float) -> None:
    ordered = sorted(values)
    told = quantile(ordered, share)
    assert told is not None
    assert ordered[0] - 0.06 <= told <= ordered[-1] + 0.06


def test_the_status_says_what_is_now() -> None:
    status = Status(recipe())
    assert status.row()["state"] == "starting"
    records = list(story())
    for record in records[:-1]:
        status.take(record)
    told = status.row()
    assert (told["state"], told["step"], told["steps"]) == ("running", 60, 60)
    assert (told["saved"], told["resumable"], told["findings_open"]) == (60, True, 1)
    assert told["left_s"] == 0.0
    status.take(replace(records[-1], state="failed", exit=1, reason="full disk"))  # type: ignore[call-arg]
    told = status.row()
    assert (told["state"], told["exit"], told["reason"]) == ("failed", 1, "full disk")
    assert {"pid", "host_hash", "ce", "val_ce", "tok_per_s", "updated_t"} <= set(told)


def test_a_status_that_is_not_finite_is_strict_json() -> None:
    status = Status(recipe())
    status.take(step(1, ce=float("nan")))
    assert json.loads(json.dumps(status.row(), allow_nan=False))["ce"] == "nan"


NAMED = re.compile(r"(mem|rss|disk|bytes|size|time|hours|seconds|elapsed)")
UNIT = re.compile(r"(_mib|_gib|_s|_per_s|_share|hours|bytes)$")


def test_every_size_and_time_has_its_unit_in_its_name() -> None:
    status = Status(recipe())
    for record in story():
        status.take(record)
    told = metrics(story())
    names = [*metrics_header(recipe()), *columns.VAL_HEADER, *status.row(), *told, *told["peak"],
             *told["forecast"]]  # fmt: skip
    for name in names:
        if NAMED.search(name):
            assert UNIT.search(name), name
    for name in names:
        if name.endswith("_mib"):
            assert name.replace("_mib", "_gib") in names


def test_a_report_is_the_same_from_the_same_journal() -> None:
    first = report(recipe(), list(story()), SAMPLES)
    assert report(recipe(), journaled(story()), SAMPLES) == first


def test_a_report_says_how_it_went() -> None:
    text = report(recipe(), list(story()), SAMPLES)
    sections = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert sections == [
        "In one paragraph", "Configuration", "Progression", "Findings", "Stability",
        "Throughput and memory", "Best checkpoints", "Samples",
    ]  # fmt: skip
    assert "`starter` finished at step 60, of 60 planned steps" in text
    assert "Validation ce 5.0000 nats/token, 1.500 bits/byte over 12,000 tokens." in text
    assert "| 30 | 6.5000 | - | nan |" in text
    assert "| peak rss_gib | 0.352 |" in text
    assert "remedy lr_scale" in text
    widths = {}
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        widths = {row.replace("\\|", "").count("|") for row in block.splitlines()}
        assert len(widths) == 1, block


def test_nothing_in_a_report_is_markup_or_control(tmp_path: Any) -> None:
    bad = "<img src=x onerror=y>|`\x1b[2J"
    records = [*story(), End(step=61, state="stopped", exit=75, reason=bad, hours=0.0)]
    samples = [{"step": 1, "prompt": "```\n</pre>", "text": bad, "temperature": 0.8}]
    text = report(recipe(), records, samples)
    assert "\x1b" not in text
    for row in text.splitlines():
        if not row.startswith("    "):  # indented: a code block, where nothing is markup
            assert "<img" not in row


def test_a_run_that_never_stepped_has_a_report() -> None:
    text = report(recipe(), [End(step=0, state="failed", exit=1, reason="x")])
    assert "No step was finished." in text
    assert "None was saved." in text


def test_a_recipe_is_shown_with_meaning_and_source() -> None:
    from surefoot.recipe.load import load

    loaded = load("starter", ["train.steps=77"])
    rows = {row.key: row for row in keys(loaded.recipe, loaded.sources)}
    assert rows["train.steps"].shown == "77"
    assert rows["train.steps"].source == "command line"
    assert rows["train.seed"].source == "default"
    assert rows["schema"].value == 1
    for key, row in rows.items():
        if key not in ("name",):
            assert row.meaning, f"{key} has no meaning"


def test_a_plan_is_shown_at_twenty_steps() -> None:
    head, rows = plan_table(recipe("knobs.lr.warmup=10"))
    assert len(rows) == 20
    assert head[:2] == ["step", "lr"]
    assert (rows[0][0], rows[-1][0]) == ("1", "60")
    assert (rows[0][1], rows[-1][1]) == ("0.1", "0.1")
    assert len({len(row) for row in [head, *rows]}) == 1
    assert len(recipe_lines([head, *rows])) == 21
