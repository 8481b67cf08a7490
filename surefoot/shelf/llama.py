"""A Hugging Face folder of a Llama: its tensors by our names, its config.json as a [model] table.

Both have the same parts in the same order (Touvron et al. 2023, arXiv 2302.13971): a norm before
attention and one before a gated SiLU, rotary positions that turn the features i and i + n/2. What
such a folder may say and this model can't compute is refused by name, never left out in silence.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from surefoot.recipe.schema import Model

EMBEDDING = "model.embed_tokens.weight"
NAMES = {
    EMBEDDING: "embedding.weight",
    "model.norm.weight": "head.norm.weight",
    "lm_head.weight": "head.weight",
}
LAYER = re.compile(r"model\.layers\.(\d+)\.([a-z_.]+)\.weight")
PARTS = {
    "input_layernorm": "norm_mixer",
    "self_attn.q_proj": "mixer.query",
    "self_attn.k_proj": "mixer.key",
    "self_attn.v_proj": "mixer.value",
    "self_attn.o_proj": "mixer.out",
    "post_attention_layernorm": "norm_ffn",
    "mlp.gate_proj": "ffn.gate",
    "mlp.up_proj": "ffn.up",
    "mlp.down_proj": "ffn.down",
}
THEIRS = {ours: theirs for theirs, ours in NAMES.items()}
THEIR_PARTS = {ours: theirs for theirs, ours in PARTS.items()}
OURS = re.compile(r"layers\.(\d+)\.([a-z_.]+)\.weight")
NEEDED = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
          "vocab_size")  # fmt: skip
BASE, EPS = 10_000.0, 1e-6  # where a config leaves them out


def our_name(theirs: str) -> str:
    """Give a tensor's name here; one that has no counterpart keeps its own."""
    found = LAYER.fullmatch(theirs)
    if found is not None and found[2] in PARTS:
        return f"layers.{found[1]}.{PARTS[found[2]]}.weight"
    return NAMES.get(theirs, theirs)


def their_name(ours: str) -> str:
    """Give a tensor's name there; one that has no counterpart keeps its own."""
    found = OURS.fullmatch(ours)
    if found is not None and found[2] in THEIR_PARTS:
        return f"model.layers.{found[1]}.{THEIR_PARTS[found[2]]}.weight"
    return THEIRS.get(ours, ours)


def strange(config: Mapping[str, Any], names: Iterable[str]) -> Iterator[str]:
    """Name what this model can't compute as that one does."""
    yield from (f"{key} is missing" for key in NEEDED if type(config.get(key)) is not int)
    numbers = {"rms_norm_eps": EPS, "rope_theta": turning(config).get("rope_theta", BASE)}
    for key, usual in numbers.items():
        value = config.get(key, usual)
        if not isinstance(value, int | float) or not 0 < value < 1e30:
            yield f"{key} is no positive number"
    kind = config.get("model_type")
    if kind != "llama":
        yield f"model_type is {kind!r}"
    act = config.get("hidden_act", "silu")
    if act not in ("silu", "swish"):
        yield f"hidden_act is {act!r}"
    positions = turning(config).get("rope_type", turning(config).get("type", "default"))
    if positions != "default":
        yield f"its rotary positions are scaled ({positions!r})"
    heads, width = config.get("num_attention_heads"), config.get("head_dim")
    if width is not None and isinstance(heads, int) and width * heads != config.get("hidden_size"):
        yield f"head_dim is {width!r}, not hidden_size / num_attention_heads"
    if bias := next((name for name in names if name.endswith(".bias")), None):
        yield f"it has biases ({bias})"


def turning(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give what a config says of its positions, in the form of either age of the library."""
    for key in ("rope_parameters", "rope_scaling"):
        if isinstance(config.get(key), dict):
            return config[key]
    return {}


def tables(config: Mapping[str, Any]) -> dict[str, Any]:
    """Write a config as the [model] table of a recipe that computes the same."""
    base = config.get("rope_theta", turning(config).get("rope_theta", BASE))
    heads = config["num_attention_heads"]
    return {
        "dim": config["hidden_size"],
        "layers": config["num_hidden_layers"],
        "heads": heads,
        "kv_heads": config.get("num_key_value_heads") or heads,
        "pattern": "L",
        "vocab": config["vocab_size"],
        "tied": bool(config.get("tie_word_embeddings", False)),
        "norm_eps": float(config.get("rms_norm_eps", EPS)),
        "ffn": {"kind": "swiglu", "width": config["intermediate_size"]},
        "mixers": {
            "L": {
                "kind": "full",
                "qk_norm": False,
                "qk_gain": False,
                "rope_base": float(base),
                "rope_fraction": 1.0,
                "attn_softcap": 0.0,
            }
        },
        "head": {"kind": "next_token", "logit_cap": 0.0},
    }


def config(model: Model, shapes: Mapping[str, tuple[int, ...]], longest: int) -> dict[str, Any]:
    """Write a [model] table as the config.json of the Llama that is most like it."""
    mixer = next(iter(model.mixers.values()))
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": model.dim,
        "intermediate_size": shapes["layers.0.ffn.up.weight"][0],
        "num_hidden_layers": model.layers,
        "num_attention_heads": model.heads,
        "num_key_value_heads": model.kv_heads or model.heads,
        "head_dim": model.dim // model.heads,
        "hidden_act": "silu",
        "max_position_embeddings": longest,
        "rms_norm_eps": model.norm_eps,
        "rope_theta": getattr(mixer, "rope_base", BASE),
        "tie_word_embeddings": model.tied,
        "vocab_size": shapes["embedding.weight"][0],
        "attention_bias": False,
        "mlp_bias": False,
    }
