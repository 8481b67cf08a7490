"""Everything that a person decides about a run, typed; the reference of all recipe keys."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from surefoot.recipe.choice import STRICT, Choice, Section, reported, slot, table

if TYPE_CHECKING:
    MixerOptions = HeadOptions = StreamOptions = Choice
    OptimiserOptions = ScheduleOptions = CorpusOptions = TokenizerOptions = Choice
    Role = str  # a dictionary's key is invariant to a checker: Role would fit no Mapping[str, ...]
else:
    MixerOptions = slot("mixers", "full")
    HeadOptions = slot("heads", "next_token")
    StreamOptions = slot("streams", "plain")
    OptimiserOptions = slot("optimisers", "adam")
    ScheduleOptions = slot("schedules", "constant")
    CorpusOptions = slot("corpora", "stdlib")
    TokenizerOptions = slot("tokenizers", "bpe")
    Role = Literal["matrix", "embedding", "value_embedding", "head", "table", "filter", "scalar"]

Letter = Annotated[str, Field(pattern="^[A-Za-z]$")]
# far above what anybody trains, and below where arithmetic over a model takes for ever
Count = Annotated[int, Field(ge=1, le=1 << 40)]
Number = Annotated[int, Field(ge=0, le=1 << 62)]
Layers = Annotated[int, Field(ge=1, le=10_000)]
Width = Annotated[int, Field(ge=1, le=1 << 20)]
Rows = Annotated[int, Field(ge=0, le=1 << 24)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]

# What each role's optimiser is, unless the recipe says otherwise.
OPTIM: dict[str, dict[str, Any]] = {
    "matrix": {"kind": "muon", "lr": 0.02},
    "embedding": {"kind": "adam", "lr": 3e-3},
    "value_embedding": {"kind": "adam", "lr": 3e-3},
    "head": {"kind": "adam", "lr": 3e-3},
    "table": {"kind": "row_adam", "lr": 1.5e-2},
    "filter": {"kind": "adam", "lr": 5e-4},
    "scalar": {"kind": "adam", "lr": 3e-3},
}
KNOBS: dict[str, dict[str, Any]] = {
    "lr": {"kind": "wsd"},
    "momentum": {"kind": "ramp", "start": 0.85, "end": 0.95, "steps": 300},
}


def with_defaults(given: Any, defaults: dict[str, dict[str, Any]]) -> Any:
    """Fill in the tables that a recipe leaves out, and the keys of those it names in part."""
    if not isinstance(given, dict):
        return given
    filled: dict[str, Any] = dict(given)  # pyright: ignore[reportUnknownArgumentType]
    for name, default in defaults.items():
        own = filled.get(name, {})
        if isinstance(own, dict) and own.get("kind", default["kind"]) == default["kind"]:  # pyright: ignore[reportUnknownMemberType]
            filled[name] = {**default, **own}
    return filled


class Ffn(Section):
    """The feed-forward part of each layer."""

    kind: Literal["swiglu", "relu2"] = "swiglu"
    """Gated SiLU, or squared ReLU"""
    width: Rows = 0
    """Hidden width; 0 = 8/3 dim for swiglu, 4 dim for relu2, rounded up to 64"""


class Model(Section):
    """The model's shape and parts."""

    dim: Width = 128
    """Width of the residual stream"""
    layers: Layers = 4
    """Layers, each a mixer and a feed-forward part"""
    heads: Width = 4
    """Query heads"""
    kv_heads: Rows = 0
    """Key and value heads, each serving heads/kv_heads query heads; 0 = heads"""
    pattern: Annotated[str, Field(min_length=1, max_length=10_000)] = "L"
    """Which mixer each layer has: letters of [model.mixers], repeated up the stack"""
    vocab: Rows = 0
    """Rows of the embedding; 0 = the tokenizer's size, rounded up to 64"""
    tied: bool = True
    """Whether embedding and head share their weights"""
    attention: Literal["auto", "fused", "plain"] = "auto"
    """Attention code: fused where the device has it, or plain formulas for debugging"""
    norm_eps: Positive = 1e-6
    """Added to the mean square that a norm divides by"""
    ffn: Ffn = Ffn()
    """The feed-forward part"""
    value_embeddings: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Tables of token values mixed into the attention values of the first and last layers"""
    mixers: dict[Annotated[str, Field(pattern="^[A-Za-z]$")], MixerOptions] = table(
        {"L": {"kind": "full"}}
    )
    """One table a letter of the pattern"""
    stream: StreamOptions = table({})
    """How layers write into the residual stream"""
    head: HeadOptions = table({})
    """What is predicted, and the loss"""


class Data(Section):
    """What is read."""

    corpus: CorpusOptions = table({})
    """Where the text comes from"""
    tokenizer: TokenizerOptions = table({})
    """How text becomes tokens"""
    packing: Literal["stream", "document"] = "stream"
    """Windows over the concatenation, or one document a row"""
    boundaries: Literal["ignore", "mask"] = "ignore"
    """Whether attention may cross from one document into the next"""
    order: Literal["shuffled", "sequential"] = "shuffled"
    """Order of the windows; sequential is for debugging"""
    on_bad_line: Literal["refuse", "skip"] = "refuse"
    """What to do with a line that can't be read"""
    entropy_floor: Annotated[float, Field(ge=0)] | None = None
    """Known entropy of the data, nats a token; a loss below it is a leak"""


class Val(Section):
    """How the model is judged on text that it is not trained on."""

    every: Number = 500
    """Steps between validations; 0 = only at the end"""
    share: Share = 0.01
    """Share of documents kept for validation, chosen by their content"""
    corpus: CorpusOptions | None = None
    """A validation corpus of its own, instead of a share"""
    batches: Number = 0
    """Batches a validation; 0 = all, up to 100,000 tokens"""
    prompts: list[str] = Field(default=["def ", "class ", "import "])
    """Beginnings that samples are written from at each validation"""


class Train(Section):
    """How long, how large, how exact."""

    steps: Count = 2000
    """Optimiser steps"""
    minutes: Positive | None = None
    """Length by the clock, turned into steps once before training; given steps win"""
    batch: Count = 8
    """Rows of a micro-batch, on each rank"""
    accumulate: Count = 1
    """Micro-batches of a step, on each rank of the first start; a run's own recipe has them all"""
    effective_batch: Count | None = None
    """Rows of a step; refused if it isn't batch x accumulate x ranks"""
    seq_len: Annotated[int, Field(ge=1, le=1 << 24)] = 256
    """Tokens of a row"""
    seed: Number = 0
    """All random numbers follow from it"""
    clip: Annotated[float, Field(ge=0)] = 1.0
    """Largest norm of a step's gradient; 0 = not clipped"""
    precision: Literal["auto", "fp32", "bf16", "bf16_pure"] = "auto"
    """Arithmetic: auto is bf16 autocast over fp32 weights on a GPU, fp32 on a CPU"""
    compile: Literal["auto"] | bool = "auto"
    """Whether torch.compile is used; auto is on a GPU only"""
    grad_checkpointing: bool = False
    """Computes activations twice and keeps one layer's at a time"""
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$")] = "auto"
    """Where to train"""
    threads: Number = 0
    """CPU threads; 0 = timed before training and written into the run's recipe"""
    deterministic: bool = False
    """Bit-equal repeats on a GPU, at a price in speed; a CPU always is"""
    on_oom: Literal["stop", "split"] = "stop"
    """When memory runs out: say what would fit and stop, or go on with fewer rows at once"""


class Save(Section):
    """When checkpoints are made, and which are kept."""

    every: Number = 500
    """Steps between checkpoints; 0 = only at the end"""
    keep: Count | Literal["all"] = 3
    """Newest checkpoints kept, beside best, final, pre-decay and milestones"""
    milestones: list[Count] = Field(default=[])
    """Steps that are always saved and never removed"""
    background: bool = True
    """Whether training goes on while a save is written; takes memory for a copy of the state"""
    grace_s: Positive = 60.0
    """Seconds to finish and save after a signal"""


class Budget(Section):
    """How many remedies a run may take before it is stopped."""

    window: Count = 1000
    """Steps over which in_window counts"""
    in_window: Count = 3
    """Remedies in that window"""
    in_run: Count = 8
    """Remedies in the whole run"""
    retrained_share: Share = 0.15
    """Share of the steps that rewinds may do again"""


class Guard(Section):
    """How the run is watched."""

    mode: Literal["act", "advise"] = "act"
    """Whether remedies are applied or only told"""
    accept: list[str] = Field(default=[])
    """Refusals that are accepted, by id"""
    strict: bool = False
    """Whether gradient checkpointing and a pin are demanded of every long run"""
    long_hours: Positive = 2.0
    """Forecast hours from which a run is long, and judged as one"""
    probe_every: Count = 10
    """Steps between per-layer measurements"""
    audit_after: Number = 20
    """Step after which the model in training is audited once more; 0 = never"""
    budget: Budget = table({})
    """How many remedies before the run is stopped"""
    monitors: dict[str, dict[str, Any]] = table({})
    """Options of single monitors"""


class Limits(Section):
    """What a run may use; preflight refuses a plan that needs more."""

    mem_gib: Positive | None = None
    """Memory, GiB (1024^3 bytes)"""
    mem_gb: Positive | None = None
    """Memory, GB (10^9 bytes); write one of the two"""
    hours: Positive | None = None
    """Wall time"""
    disk_gib: Positive | None = None
    """Space of the run folder"""
    cost: Positive | None = None
    """Price of the whole run, in the currency of price_per_hour"""
    price_per_hour: Positive | None = None
    """Price of one device's hour"""


class Distributed(Section):
    """How several processes, the ranks, train one model."""

    mode: Literal["auto", "ddp", "fsdp"] = "auto"
    """Whole weights on every rank, or rows of them: auto is ddp where 60% of a device holds them"""
    reduce: Literal["ring", "exact"] = "ring"
    """How gradients are summed: fast, or with the same bits for every number of ranks"""
    lanes: Count | None = None
    """Parts of a step that `exact` adds as a tree, a power of two; none = ranks at first"""
    timeout_s: Positive = 600.0
    """Seconds that ranks wait for one of them within a step"""
    accumulate_sharded: bool = False
    """fsdp sums gradients after every micro-batch: less memory, more to send"""


class Logs(Section):
    """What is written beside the journal."""

    every: Count = 10
    """Steps between the terminal's lines"""
    seed_names: bool = False
    """Also link training_log.txt, training.csv and latest.ckpt"""


class Recipe(Section):
    """Everything that a person decides about a run."""

    model_config = STRICT | ConfigDict(validate_by_name=True, validate_by_alias=True)

    version: Annotated[Literal[1], Field(alias="schema")] = 1
    """Version of the recipe format"""
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]{0,63}$")] = "unnamed"
    """What run folders are named after"""
    purpose: Literal["train", "toy", "representation"] = "train"
    """What the model is for; rules judge by it"""
    model: Model = table({})
    optim: dict[Role, OptimiserOptions] = table({})
    knobs: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], ScheduleOptions] = table({})
    data: Data = table({})
    val: Val = table({})
    train: Train = table({})
    save: Save = table({})
    guard: Guard = table({})
    limits: Limits = table({})
    distributed: Distributed = table({})
    logs: Logs = table({})

    @model_validator(mode="before")
    @classmethod
    def fill(cls, raw: Any) -> Any:
        """Fill in optimisers and knobs; a head that is tied has no optimiser of its own."""
        if not isinstance(raw, dict):
            return raw
        given: dict[str, Any] = dict(raw)  # pyright: ignore[reportUnknownArgumentType]
        model: Any = given.get("model", {})
        tied = model.get("tied", True) if isinstance(model, dict) else getattr(model, "tied", True)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        roles = {role: table for role, table in OPTIM.items() if not (tied and role == "head")}
        given["optim"] = with_defaults(given.get("optim", {}), roles)
        given["knobs"] = with_defaults(given.get("knobs", {}), KNOBS)
        return given

    @model_validator(mode="after")
    def consistent(self) -> "Recipe":
        """Check what concerns more than one key, all of it at once."""
        from surefoot.recipe.checks import problems

        if found := problems(self):
            raise reported(found)
        return self
