import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from surefoot.data.cache import Cache
from surefoot.errors import DataError

# Preparation alone needs no torch, so a trial costs a third of a second.
PROGRAM = """
import sys
from pathlib import Path
from surefoot.data.cache import Cache
from surefoot.data.corpus import Corpus
from surefoot.data.prepare import from_text
from surefoot.data.corpora.text import Options
from surefoot.data.tokenizers.bpe import Options as Bpe
import tokenizers
print("ready", flush=True)
corpus = Corpus(Options(path="texts"), Path.cwd(), "refuse", Cache(Path(sys.argv[1])))
print(from_text(corpus, Bpe(vocab=400), .05, 1024).fingerprint)
"""
TEXTS = {"kind": "text", "path": "texts"}


def start(cache: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, cache], stdout=subprocess.PIPE, text=True
    )


def content(cache: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(cache)): p.read_bytes()
        for p in sorted(cache.rglob("*"))
        if p.is_file() and p.suffix != ".lock" and p.name != "files.json"
    }


def test_a_second_preparation_reads_no_text_again(desk):
    folder = desk.articles(30)
    one = desk.dataset(TEXTS, "bpe", vocab=400)
    for path in folder.iterdir():
        os.utime(path, (1_000_000, 1_000_000))  # old enough to be trusted
    desk.dataset(TEXTS, "bpe", vocab=400)
    for path in folder.iterdir():
        path.chmod(0)
    before = {p: p.stat().st_mtime_ns for p in desk.cache.rglob("*.bin")}
    two = desk.dataset(TEXTS, "bpe", vocab=400)
    assert two.fingerprint == one.fingerprint
    assert before == {p: p.stat().st_mtime_ns for p in desk.cache.rglob("*.bin")}


def test_changed_text_is_prepared_anew_and_its_file_can_be_named(desk):
    folder = desk.articles(30)
    one = desk.dataset(TEXTS)
    (folder / "0003.txt").write_text("something else entirely")
    two = desk.dataset(TEXTS)
    assert one.fingerprint != two.fingerprint
    changed = [name for name in one.files if two.files[name] != one.files[name]]
    assert changed == ["texts/0003.txt"]


def test_moved_text_is_the_same_text(desk):
    folder = desk.articles(30)
    one = desk.dataset(TEXTS)
    folder.rename(desk.folder / "elsewhere")
    assert desk.dataset(TEXTS | {"path": "elsewhere"}).fingerprint == one.fingerprint


def test_another_length_of_rows_costs_no_new_tokens(desk):
    desk.articles(100)
    one = desk.dataset(TEXTS, share=0.2, seq_len=16)
    assert desk.dataset(TEXTS, share=0.2, seq_len=17).fingerprint == one.fingerprint


def test_what_fails_half_way_leaves_nothing(tmp_path):
    cache = Cache(tmp_path)

    def broken(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise KeyError("half way")

    with pytest.raises(KeyError):
        cache.made("thing", broken)
    assert [p.name for p in tmp_path.iterdir()] == ["thing.lock"]
    assert cache.made("thing", lambda folder: (folder / "whole").touch()).is_dir()


def test_a_cache_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"XDG_CACHE_HOME = .*: the cache can't be written"):
        Cache(tmp_path / "file" / "cache")


def test_a_damaged_book_of_digests_is_made_again(desk):
    desk.articles(30)
    one = desk.dataset(TEXTS)
    (desk.cache / "files.json").write_text("{broken")
    assert desk.dataset(TEXTS).fingerprint == one.fingerprint


@pytest.mark.slow
def test_killed_preparations_end_in_what_one_alone_makes(desk):
    desk.articles(300)
    alone = start("alone")
    assert alone.stdout is not None
    alone.stdout.readline()
    began = time.monotonic()
    assert alone.communicate()[0]
    whole = time.monotonic() - began
    half = 0
    for number in range(50):
        shutil.rmtree(desk.cache, ignore_errors=True)
        process = start("cache")
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(whole * number / 60)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        half += len(list(desk.cache.glob(".*.*/*"))) > 0
        if number % 10:
            continue
        final = start("cache")
        assert final.communicate()[0]
        assert content(desk.cache) == content(desk.folder / "alone")
        assert not list(desk.cache.glob(".*.*/*"))
    assert half > 1, f"only {half} of 50 kills left something half made"


@pytest.mark.slow
def test_four_at_once_make_one(desk):
    desk.articles(300)
    processes = [start("cache") for _ in range(4)]
    told = {p.communicate()[0] for p in processes}
    assert len(told) == 1
    assert len(list(desk.cache.glob("*/tokens.bin"))) == 1


def make_slowly(root: Path, made) -> None:
    def make(folder: Path) -> None:
        time.sleep(0.2)
        with made.get_lock():
            made.value += 1
        (folder / "it").touch()

    Cache(root).made("thing", make)


def test_the_second_process_waits_for_the_first(tmp_path):
    context = multiprocessing.get_context("fork")
    made = context.Value("i", 0)
    both = [context.Process(target=make_slowly, args=(tmp_path, made)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert made.value == 1
