"""What a stranger might hand over: each lays its files into a folder and gives the command line."""

import hashlib
import json
import os
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from surefoot.shelf import format as layout

Make = Callable[[Path], Sequence[str]]
GIB = 1 << 30
QUIET = ("--plain", "--quiet")


def recipe(text: str | bytes) -> Make:
    """A recipe that somebody sent."""

    def make(place: Path) -> Sequence[str]:
        data = text.encode() if isinstance(text, str) else text
        (place / "theirs.toml").write_bytes(data)
        return ["preflight", "theirs.toml"]

    return make


def linked_out(place: Path) -> Sequence[str]:
    (place.parent / "secret.toml").write_text("[model]\ndim = 64\n")
    (place / "parent.toml").symlink_to("../secret.toml")
    return recipe('extends = "parent"\n')(place)


def instead(act: Callable[[Path], object], name: str, *words: str) -> Make:
    """Something else where a file should be."""

    def make(place: Path) -> Sequence[str]:
        act(place / name)
        return words

    return make


def zero(path: Path) -> None:
    path.symlink_to("/dev/zero")


def huge(first: bytes, size: int) -> Callable[[Path], None]:
    """A file that says it is so long, and takes no room."""

    def act(path: Path) -> None:
        path.write_bytes(first)
        os.truncate(path, size)

    return act


RECIPES: dict[str, Make] = {
    **{
        f"a recipe's kind {kind}": recipe(f'[data.corpus]\nkind = "{kind}"\n')
        for kind in ("os.system", "../../tmp/evil", "/tmp/evil", "__class__", "text.py", "Text")
    },
    "a mixer by import path": recipe('[model.mixers]\nL = { kind = "evil:Mixer" }\n'),
    "a monitor by import path": recipe('[guard.monitors."os.system"]\nx = 1\n'),
    "over 1 MiB": recipe("#" * (1 << 20) + "\n"),
    "extends up": recipe('extends = "../secret"\n'),
    "extends an absolute path": recipe('extends = "/etc/secret.toml"\n'),
    "extends a link that leads out": linked_out,
    "extends itself": recipe('extends = "theirs"\n'),
    "extends code": recipe("extends = \"__import__('os')\"\n"),
    "100,000 lists in lists": recipe("x = " + "[" * 100_000 + "]" * 100_000),
    "30,000 tables in tables": recipe("x = " + "{a=" * 30_000 + "1" + "}" * 30_000),
    "a key of 200,000 parts": recipe("a" + ".a" * 200_000 + " = 1\n"),
    "a table of 20,000 parts": recipe("[a" + ".a" * 20_000 + "]\nx = 1\n"),
    "20,000 keys": recipe("".join(f"k{i} = 1\n" for i in range(20_000))),
    "a key of 900,000 letters": recipe("k" * 900_000 + " = 1\n"),
    "a line that costs time to find": recipe('q = """\n[' + " " * 900_000 + 'x\n"""\n'),
    "a word that costs time to find": recipe('q = """\nz = ' + "a" * 900_000 + '\n"""\n'),
    "10^12 layers": recipe("[model]\nlayers = 1000000000000\n"),
    "a width of 10^18": recipe("[model]\ndim = 1000000000000000000\n"),
    "a number that is none": recipe("[model]\ndim = nan\n"),
    "a name that clears the screen": recipe('name = "a\\u001b[2J\\u202Eevil"\n'),
    "a name that leads out": recipe('name = "../../evil"\n'),
    "a name with a format": recipe('name = "{0.__class__}"\n'),
    "not UTF-8": recipe(b"\xff\xfename = 1\n"),
    "a pipe as a recipe": instead(os.mkfifo, "theirs.toml", "preflight", "theirs.toml"),
    "/dev/zero as a recipe": instead(zero, "theirs.toml", "preflight", "theirs.toml"),
}


def reading(corpus: str, lay: Callable[[Path], object] | None = None) -> Make:
    """A small run over somebody's text."""

    def make(place: Path) -> Sequence[str]:
        if lay is not None:
            lay(place / "data")
        text = f'[data]\ncorpus = {corpus}\ntokenizer = {{ kind = "byte" }}\n'
        return recipe(text)(place)

    return make


JSONL, TEXT = '{ kind = "jsonl", path = "data" }', '{ kind = "text", path = "data" }'
DEEP = b"[" * 100_000 + b"]" * 100_000
CORPORA: dict[str, Make] = {
    "a line of 96 MiB": reading(JSONL, huge(b'{"text": "', 96 << 20)),
    "a line 100,000 deep": reading(JSONL, lambda p: p.write_bytes(b'{"text":' + DEEP + b"}\n")),
    "a number of 10,000 digits": reading(
        JSONL, lambda p: p.write_bytes(b'{"text":' + b"9" * 10_000 + b"}\n")
    ),
    "half a character": reading(JSONL, lambda p: p.write_bytes(b'{"text": "\\ud800"}\n')),
    "a field with an escape": reading(
        JSONL, lambda p: p.write_bytes(b'{"\\u001b[2J\\u202e": 1}\n')
    ),
    "a text of a TiB": reading(TEXT, huge(b"a", 1 << 40)),
    "a pipe as a text": reading(TEXT, os.mkfifo),
    "/dev/zero as a text": reading(TEXT, zero),
    "a text in the environment": reading('{ kind = "text", path = "$HOME/secret" }'),
    "an encoding that is none": reading(
        '{ kind = "text", path = "data", encoding = "evil" }', lambda p: p.write_bytes(b"a")
    ),
    "an encoding that is no text's": reading(
        '{ kind = "text", path = "data", encoding = "zlib" }', lambda p: p.write_bytes(b"a")
    ),
    "tokens by the billion": reading(
        '{ kind = "bin", path = "data" }',
        lambda p: p.write_bytes(struct.pack("<3i", 20240520, 1, 2**31 - 1) + bytes(1012)),
    ),
}


def tokenizer(content: Any) -> Make:
    """A recipe with somebody's tokenizer."""

    def make(place: Path) -> Sequence[str]:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        (place / "tokenizer.json").write_bytes(data)
        return with_tokenizer(place)

    return make


def with_tokenizer(place: Path) -> Sequence[str]:
    (place / "data").write_text("one two three four five six\n" * 2000)
    text = f'[data]\ncorpus = {TEXT}\ntokenizer = {{ kind = "file", path = "tokenizer.json" }}\n'
    return recipe(text)(place)


def at_tokenizer(act: Callable[[Path], object]) -> Make:
    """A recipe whose tokenizer is something else."""

    def make(place: Path) -> Sequence[str]:
        act(place / "tokenizer.json")
        return with_tokenizer(place)

    return make


def bpe(**more: Any) -> dict[str, Any]:
    """A tokenizer of two letters, and what a stranger made of it."""
    model = {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []}
    return {"version": "1.0", "added_tokens": [], "model": {**model, **more}}


TOKENIZERS: dict[str, Make] = {
    "no JSON": tokenizer(b"__import__('os').system('touch canary')"),
    "a list": tokenizer([]),
    "100,000 deep": tokenizer(b'{"model":' + DEEP + b"}"),
    "no vocabulary": tokenizer({"model": {"type": "BPE"}}),
    "merges that are a number": tokenizer(bpe(merges=5)),
    "merges of what is not there": tokenizer(bpe(merges=["x y"])),
    "a model by import path": tokenizer(bpe(type="os.system")),
    "ids in the billions": tokenizer(bpe(vocab={"a": 0, "b": 4_000_000_000})),
    "an id below nothing": tokenizer(bpe(vocab={"a": 0, "b": -1})),
    "an id twice over": tokenizer(bpe(vocab={"a": 0, "b": 7})),
    "code of ours": tokenizer({"surefoot": {"kind": "os.system"}}),
    "a kind that is a list": tokenizer({"surefoot": {"kind": []}}),
    "10^15 ids": tokenizer({"surefoot": {"kind": "ids"}, "vocab": 10**15, "eos": None, "pad": 0}),
    "an alphabet that is none": tokenizer({"surefoot": {"kind": "char"}, "alphabet": [[]]}),
    "a padding beyond the ids": tokenizer(
        {"surefoot": {"kind": "file"}, "inner": bpe(), "eos": None, "pad": -5}
    ),
    "over 64 MiB": at_tokenizer(huge(b"{", 1 << 40)),
    "a pipe": at_tokenizer(os.mkfifo),
    "/dev/zero": at_tokenizer(zero),
}


def tensor_file(head: Any, data: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file."""
    text = head if isinstance(head, bytes) else json.dumps(head).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def f32(begin: int, end: int, shape: list[Any] | None = None) -> dict[str, Any]:
    shape = [(end - begin) // 4] if shape is None else shape
    return {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}


def weights(data: bytes, name: str = "model.safetensors") -> Make:
    """A file to begin from."""

    def make(place: Path) -> Sequence[str]:
        (place / name).write_bytes(data)
        return ["train", "tiny.toml", "--init-from", name, *QUIET]

    return make


class Trap:
    """Runs a command where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch canary",)


def zipped() -> bytes:
    """Give what torch.save writes: an archive with a pickle in it."""
    import io

    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Trap()))
    return held.getvalue()


def folder(**files: bytes | Callable[[Path], object]) -> Make:
    """A folder to begin from; `__` in a name stands for a dot."""

    def make(place: Path) -> Sequence[str]:
        theirs = place / "theirs"
        theirs.mkdir()
        for name, what in files.items():
            path = theirs / name.replace("__", ".")
            path.write_bytes(what) if isinstance(what, bytes) else what(path)
        return ["train", "tiny.toml", "--init-from", "theirs", *QUIET]

    return make


def llama(**config: Any) -> Make:
    """A Llama whose config.json is somebody's."""
    usual = {
        "model_type": "llama", "hidden_size": 16, "num_hidden_layers": 2, "vocab_size": 8,
        "num_attention_heads": 4, "intermediate_size": 24,
    }  # fmt: skip
    told = json.dumps(usual | config).encode()
    head = {"model.embed_tokens.weight": f32(0, 512, [8, 16])}
    return folder(model__safetensors=tensor_file(head, bytes(512)), config__json=told)


def index(name: str) -> Make:
    """A folder whose index names a file somewhere else."""
    told = json.dumps({"weight_map": {"a": name}}).encode()
    return folder(model__safetensors__index__json=told)


def beside(**files: bytes | Callable[[Path], object]) -> Make:
    """A file to begin from, and what lies beside it."""
    lay = folder(model__safetensors=ONE, **files)
    return lambda place: [
        "theirs/model.safetensors" if word == "theirs" else word for word in lay(place)
    ]


ONE = tensor_file({"a": f32(0, 4)}, bytes(4))
WEIGHTS: dict[str, Make] = {
    **{f"a pickle {name}": weights(pickle.dumps(Trap()), name)
       for name in ("a.bin", "a.pt", "a.pth", "a.ckpt", "a.pkl", "a.safetensors", "noname")},
    **{f"torch's archive {name}": weights(zipped(), name)
       for name in ("a.bin", "a.pt", "a.safetensors", "noname")},
    "an old pickle": weights(pickle.dumps(Trap(), protocol=0), "a.safetensors"),
    "a folder of torch's distributed checkpoints": folder(
        __metadata=pickle.dumps(Trap()), a__distcp=zipped()
    ),
    "a folder with a pickle": folder(pytorch_model__bin=pickle.dumps(Trap())),
    "an empty folder": folder(),
    "a pipe": instead(os.mkfifo, "a", "train", "tiny.toml", "--init-from", "a", *QUIET),
    "a device": lambda place: ["train", "tiny.toml", "--init-from", "/dev/zero", *QUIET],
    "a pipe in a folder": folder(model__safetensors=os.mkfifo),
    "a link to a device in a folder": folder(model__safetensors=zero),
    "a header of 2^60 bytes": weights(tensor_file({}, length=1 << 60)),
    "overlapping tensors": weights(tensor_file({"a": f32(0, 8), "b": f32(4, 12)}, bytes(12))),
    "a negative shape": weights(tensor_file({"a": f32(0, 4, [-1, -1])}, bytes(4))),
    "210,000 tensors": weights(tensor_file({str(i): f32(0, 0, [0]) for i in range(210_000)})),
    "10^7 tensors": weights(tensor_file(b"{" + b'"a":{},' * 10_000_000, b"", 80_000_001)),
    "a header of two million lists": weights(tensor_file(b'{"a":[' + b"[]," * 2_000_000 + b"1]}")),
    "a header 100,000 deep": weights(tensor_file(b'{"a":' + DEEP + b"}")),
    "tensors with names of attributes": weights(
        tensor_file({"__class__": f32(0, 4), "forward.__globals__": f32(4, 8)}, bytes(8))
    ),
    "an index that leads out": index("../secret.safetensors"),
    "an index to an absolute file": index("/tmp/secret.safetensors"),
    "an index that is deep": folder(model__safetensors__index__json=DEEP),
    "an index to a pipe": folder(
        model__safetensors__index__json=b'{"weight_map": {"a": "b.safetensors"}}',
        b__safetensors=os.mkfifo,
    ),
    "a config that is a pipe": folder(
        model__safetensors=tensor_file(
            {"model.embed_tokens.weight": f32(0, 4, [1, 1])}, bytes(4)
        ),
        config__json=os.mkfifo,
    ),
    "a config of code": llama(hidden_act="__import__('os')"),
    "a config of text": llama(rms_norm_eps="x"),
    "a config of lists": llama(rope_theta=[[]]),
    "a config of 4,000 digits": llama(rope_theta=int("9" * 4000)),
    "a config of 10^15 layers": llama(num_hidden_layers=10**15),
    "a config of fewer than no heads": llama(num_attention_heads=-4),
    "a config of no heads": llama(num_attention_heads=0),
    "a recipe beside that is deep": beside(recipe__toml=b"x = " + b"[" * 50_000),
    "a recipe beside of a TiB": beside(recipe__toml=huge(b"#", 1 << 40)),
    "a recipe beside that is a pipe": beside(recipe__toml=os.mkfifo),
    "a tokenizer beside that is code": folder(
        model__safetensors=ONE, tokenizer__json=b"__import__('os')"
    ),
}  # fmt: skip


def rewritten(run: Path, file: str, data: bytes) -> None:
    """Exchange a file of a run's newest save as its author could: all hashes right."""
    (saved,) = run.glob("step-*")
    (saved / file).write_bytes(data)
    told = json.loads((saved / layout.MANIFEST).read_bytes())
    told["files"][file] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    listed = json.dumps(told).encode()
    (saved / layout.MANIFEST).write_bytes(listed)
    (saved / layout.COMMIT).write_bytes(layout.commit_line(listed))


def changed(file: str, change: Callable[[bytes], bytes], *words: str) -> Callable[[Path, Path], Sequence[str]]:  # noqa: E501  # fmt: skip
    """A run whose newest save holds something else."""

    def make(place: Path, base: Path) -> Sequence[str]:
        run = Path(shutil.copytree(base, place / "theirs", symlinks=True))
        (saved,) = run.glob("step-*")
        rewritten(run, file, change((saved / file).read_bytes()))
        return words or ["generate", "theirs", "--tokens", "2"]

    return make


def state(**more: Any) -> Callable[[bytes], bytes]:
    """Change what a save says of how far the run had come; None takes a key out."""

    def change(data: bytes) -> bytes:
        told = json.loads(data) | more
        return json.dumps({key: value for key, value in told.items() if value is not None}).encode()

    return change


def replaced(old: str, new: str) -> Callable[[bytes], bytes]:
    """Change a text."""

    def change(data: bytes) -> bytes:
        text = data.decode()
        assert text.count(old) >= 1, f"{old!r} is not in it"
        return text.replace(old, new).encode()

    return change


RESUME = ("train", "--resume", "theirs", "train.steps=9", *QUIET)
RUNS = {
    "a model of 10^12 parameters": changed("recipe.toml", replaced("dim = 16", "dim = 1048576")),
    "a model of 10,000 layers": changed("recipe.toml", replaced("layers = 2", "layers = 10000")),
    "a recipe with an import path": changed(
        "recipe.toml", replaced('kind = "byte"', 'kind = "os.system"')
    ),
    "a recipe that extends": changed("recipe.toml", lambda d: b'extends = "../secret"\n' + d),
    "more tokens than the model has": changed(
        "tokenizer.json",
        lambda d: b'{"surefoot": {"kind": "ids"}, "vocab": 5000, "eos": null, "pad": 0}',
    ),
    "a tokenizer of code": changed("tokenizer.json", lambda d: b"__import__('os')"),
    "a tokenizer 100,000 deep": changed("tokenizer.json", lambda d: b'{"a":' + DEEP + b"}"),
    "a state of nothing": changed("state.json", state(tokens=None)),
    "a state of text": changed("state.json", state(events="x")),
    "a state of records that are none": changed("state.json", state(events=[{"kind": "event"}])),
    "a state to go on from": changed("state.json", state(best="x"), *RESUME),
    "a state without its data": changed("state.json", state(data=None), *RESUME),
    "a state without its monitors": changed("state.json", state(monitors=None), *RESUME),
    "a state whose monitors are none": changed(
        "state.json", state(monitors={"loss_gap": 5}), *RESUME
    ),
    "a pickle for a model": changed("model.safetensors", lambda d: pickle.dumps(Trap())),
    "an archive for a model": changed("model.safetensors", lambda d: zipped()),
}


def log(data: bytes | Callable[[Path], object], name: str = "train.log") -> Make:
    """A log that somebody asks about."""

    def make(place: Path) -> Sequence[str]:
        path = place / name
        path.write_bytes(data) if isinstance(data, bytes) else data(path)
        return ["diagnose", name]

    return make


def event(length: int) -> bytes:
    """A TensorBoard record that claims a length."""
    return struct.pack("<QI", length, 0) + b"x" * 64


HEAD = b'{"v": 1, "kind": "run", "step": 0, "generation": 0}\n'
STEP = {"v": 1, "kind": "step", "step": 1, "loss": 1.0, "ce": 1.0, "grad_norm": 1.0, "lr": {}}


def journal(**more: Any) -> Make:
    """A journal of one step."""
    return log(HEAD + json.dumps({**STEP, **more}).encode() + b"\n", "journal.jsonl")


LOGS: dict[str, Make] = {
    "a line of a GiB": log(huge(b"step,loss\n", GIB)),
    "a GiB of digits": log(huge(b"step,loss\n1,2" + b"3" * (3 << 20), GIB)),
    "a pipe": log(os.mkfifo),
    "/dev/zero": log(zero),
    "nothing": log(b""),
    "lists in lists": log(b'{"step":' + DEEP + b"}\n" + DEEP + b"\n"),
    "a pickle": log(pickle.dumps(Trap())),
    "code": log(b"__import__('os').system('touch canary')\n"),
    "a history 100,000 deep": log(b'{"log_history": [' + DEEP, "trainer_state.json"),
    "a step of 5,000 digits": log(b"iter " + b"9" * 5000 + b": loss 1.0, time 2.0ms\n"),
    "another step of 5,000 digits": log(b"step:" + b"9" * 5000 + b"/1 train_loss:1.0\n"),
    "a step of 4,000 digits in JSON": log(b'{"step": ' + b"9" * 4000 + b', "loss": 1}\n'),
    "a journal's step of 4,000 digits": journal(step=int("9" * 4000)),
    "a journal's loss of 4,000 digits": journal(loss=int("9" * 4000)),
    "a journal's loss of text": journal(loss="__import__('os')"),
    "a journal's lr of lists": journal(lr={"head": [[]]}),
    "events of 2^60 bytes": log(event(1 << 60), "events.out.tfevents.1"),
    "events of a pickle": log(pickle.dumps(Trap()), "events.out.tfevents.1"),
    "an escape in a header": log(b"step,\x1b[2J\x1b]0;evil\x07\xe2\x80\xae\n1,2\n"),
}
