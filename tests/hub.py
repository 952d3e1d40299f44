"""Models of the hub, made tiny: their own architecture, special tokens and chat template, weights of random numbers.

Each is described as it is published (config.json, tokenizer_config.json, generation_config.json) and shrunk: few
narrow layers, but the ratio of its heads, its biases, norms, rope, windows and tied tables as they are; a tokenizer of
its kind with a few hundred tokens, and a vocabulary that is padded beyond them.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

GOLDEN = Path(__file__).parent / "golden" / "rows"
FEW_LAYERS = 4
WORDS = 320
"""Entries of a tokenizer's table beside its markers: some for bytes, the others learnt."""
QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
THINK = ("<think>", "</think>")


@dataclass(frozen=True)
class Markers:
    """Added tokens behind the table, in their order, and what is said of them."""

    names: tuple[str, ...]
    plain: tuple[str, ...] = THINK
    """Those that a decoder keeps: added, but not special."""
    bos: str | None = None
    """Before every raw text."""
    eos: str = "<|endoftext|>"
    pad: str | None = None
    unk: str | None = None
    stops: tuple[str, ...] = ()
    """Stop ids of the generation config; none: the eos alone."""
    template: str | None = None
    tokenizer_class: str = "Qwen2Tokenizer"
    kind: str = "bytes"
    """bytes: byte-level BPE; pieces: BPE over characters, bytes for unknown ones, as sentencepiece writes it."""


@dataclass(frozen=True)
class Published:
    """A model of the hub."""

    kind: str
    """Name of its transformers classes: Qwen2, Llama ..."""
    config: dict[str, Any]
    markers: Markers
    padding: int = 8
    """Rows of the vocabulary beyond the tokenizer's."""
    changed: dict[str, Any] = field(default_factory=dict)
    """What of the config is another number in the tiny model, beside its sizes."""


# --- special tokens ---------------------------------------------------------------------------------------------------

CHATML = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
QWQ_CHAT = CHATML.replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}").replace(
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}",
    "",
)
R1_CHAT = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}<｜User｜>{{ message['content'] }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<｜Assistant｜><think>\n{% endif %}"
)
ORZ_CHAT = (
    "{% for message in messages %}A conversation between User and Assistant. The assistant first thinks about the "
    "reasoning process in the mind, enclosed within <think> </think> tags.\nUser: {{ message['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}\nAssistant: <think>{% endif %}"
)
PHI_CHAT = (
    "{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
SMOLLM_CHAT = CHATML.replace("You are a helpful assistant.", "You are a helpful AI assistant named SmolLM.")
GEMMA_CHAT = (
    "{{ bos_token }}{% for message in messages %}<start_of_turn>{{ message['role'] }}\n{{ message['content'] | trim }}"
    "<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)

QWEN25 = Markers(
    ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>",
     "<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|file_sep|>"),
    plain=("<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|file_sep|>"), pad="<|endoftext|>", template=CHATML,
)  # fmt: skip
QWQ = replace(
    QWEN25, names=(*QWEN25.names, "<tool_response>", "</tool_response>", *THINK),
    plain=(*QWEN25.plain, "<tool_response>", "</tool_response>", *THINK), eos="<|im_end|>",
    stops=("<|im_end|>", "<|endoftext|>"), template=QWQ_CHAT,
)  # fmt: skip
QWEN3 = replace(QWQ, eos="<|endoftext|>", stops=("<|endoftext|>",), template=CHATML)
QWEN3_CHAT = replace(QWQ, template=CHATML)
ORZ = replace(QWEN25, template=ORZ_CHAT)
R1_QWEN = Markers(
    ("<｜end▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>", "<｜begin▁of▁sentence｜>", "<|EOT|>", *THINK),
    plain=("<｜User｜>", "<｜Assistant｜>", "<|EOT|>", *THINK), bos="<｜begin▁of▁sentence｜>",
    eos="<｜end▁of▁sentence｜>", pad="<｜end▁of▁sentence｜>", template=R1_CHAT, tokenizer_class="LlamaTokenizerFast",
)  # fmt: skip
LLAMA3 = Markers(
    ("<|begin_of_text|>", "<|end_of_text|>", *(f"<|reserved_special_token_{n}|>" for n in range(6))),
    bos="<|begin_of_text|>", eos="<|end_of_text|>", tokenizer_class="PreTrainedTokenizerFast",
)  # fmt: skip
R1_LLAMA = Markers(
    ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<|reserved_special_token_0|>", "<｜User｜>",
     "<｜Assistant｜>", *THINK, "<|reserved_special_token_1|>"),
    plain=("<｜User｜>", "<｜Assistant｜>", *THINK), bos="<｜begin▁of▁sentence｜>", eos="<｜end▁of▁sentence｜>",
    pad="<｜end▁of▁sentence｜>", template=R1_CHAT, tokenizer_class="LlamaTokenizerFast",
)  # fmt: skip
PHI35 = Markers(
    ("<|endoftext|>", "<|assistant|>", "<|placeholder1|>", "<|system|>", "<|end|>", "<|user|>"), bos="<s>",
    pad="<|endoftext|>", unk="<unk>", stops=("<|end|>", "<|assistant|>", "<|endoftext|>"), template=PHI_CHAT,
    tokenizer_class="LlamaTokenizer", kind="pieces",
)  # fmt: skip
GEMMA = Markers(
    ("<start_of_turn>", "<end_of_turn>"), bos="<bos>", eos="<eos>", pad="<pad>", unk="<unk>",
    stops=("<eos>", "<end_of_turn>"), template=GEMMA_CHAT, tokenizer_class="GemmaTokenizer", kind="pieces",
)  # fmt: skip
OLMO = Markers(
    ("<|endoftext|>", "<|fim_prefix|>", "<|im_start|>", "<|im_end|>", "<|pad|>"), pad="<|pad|>", template=None,
    tokenizer_class="GPT2Tokenizer",
)  # fmt: skip
OLMO_CHAT = replace(
    OLMO,
    template="<|endoftext|>{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] }}\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}",
)
SMOLLM = Markers(
    ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>"), bos=None, eos="<|im_end|>", pad="<|im_end|>",
    template=SMOLLM_CHAT, tokenizer_class="GPT2Tokenizer",
)  # fmt: skip


# --- configs ----------------------------------------------------------------------------------------------------------


def _sizes(
    width: int, layers: int, heads: int, kv_heads: int, inner: int, vocab: int, positions: int
) -> dict[str, Any]:
    return {
        "hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": kv_heads, "intermediate_size": inner, "vocab_size": vocab,
        "max_position_embeddings": positions, "rms_norm_eps": 1e-6, "hidden_act": "silu",
    }  # fmt: skip


def _qwen2(*sizes: int, theta: float = 1e6, tied: bool = False) -> dict[str, Any]:
    return _sizes(*sizes) | {
        "rope_theta": theta, "tie_word_embeddings": tied, "use_sliding_window": False, "sliding_window": sizes[-1],
        "max_window_layers": sizes[1],
    }  # fmt: skip


LLAMA3_ROPE = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}  # fmt: skip
LLAMA31 = _sizes(4096, 32, 32, 8, 14336, 128256, 131072) | {
    "rope_theta": 5e5, "rope_scaling": LLAMA3_ROPE, "tie_word_embeddings": False, "attention_bias": False,
}  # fmt: skip
QWEN3_2B = _qwen2(2048, 28, 16, 8, 6144, 151936, 32768, tied=True) | {"head_dim": 128, "sliding_window": None}
OLMO2 = _sizes(2048, 16, 16, 16, 8192, 100352, 4096) | {"rope_theta": 5e5, "tie_word_embeddings": False}
SMALL_QWEN = (896, 24, 14, 2, 4864, 151936, 32768)
QWEN_1B = (1536, 28, 12, 2, 8960, 151936, 131072)
QWEN_7B = (3584, 28, 28, 4, 18944, 152064, 131072)
QWEN_14B = (5120, 48, 40, 8, 13824, 152064, 131072)
QWEN_32B = (5120, 64, 40, 8, 27648, 152064, 131072)
MATH_1B, MATH_7B = (*QWEN_1B[:-1], 4096), (*QWEN_7B[:-1], 4096)
TINY_ROPE = {"rope_scaling": LLAMA3_ROPE | {"original_max_position_embeddings": 64}}
"""Within the few positions of a test each part of the scaled rope is at work."""
RLVR = "stellalisy/rethink_rlvr_reproduce-ground_truth-qwen2.5_math_7b-lr5e-7-kl0.00-step150"

HUB: dict[str, Published] = {
    "Qwen/Qwen2.5-0.5B": Published("Qwen2", _qwen2(*SMALL_QWEN, tied=True), QWEN25),
    "Qwen/Qwen2.5-1.5B": Published("Qwen2", _qwen2(*QWEN_1B, tied=True), QWEN25),
    "Qwen/Qwen2.5-7B": Published("Qwen2", _qwen2(*QWEN_7B), QWEN25, padding=16),
    "Qwen/Qwen2.5-14B": Published("Qwen2", _qwen2(*QWEN_14B), QWEN25, padding=16),
    "Qwen/Qwen2.5-32B": Published("Qwen2", _qwen2(*QWEN_32B), QWEN25, padding=16),
    "Qwen/Qwen2.5-Math-1.5B": Published("Qwen2", _qwen2(*MATH_1B, theta=1e4, tied=True), QWEN25),
    "Qwen/Qwen2.5-Math-7B": Published("Qwen2", _qwen2(*MATH_7B, theta=1e4), QWEN25, padding=16),
    RLVR: Published("Qwen2", _qwen2(*MATH_7B, theta=1e4), QWEN25, padding=16),
    "Qwen/QwQ-32B": Published("Qwen2", _qwen2(*QWEN_32B[:-1], 40960), QWQ, padding=16),
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B": Published("Qwen2", _qwen2(*QWEN_1B, theta=1e4), R1_QWEN),
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-14B": Published("Qwen2", _qwen2(*QWEN_14B), R1_QWEN, padding=16),
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-32B": Published("Qwen2", _qwen2(*QWEN_32B), R1_QWEN, padding=16),
    "Open-Reasoner-Zero/Open-Reasoner-Zero-0.5B": Published("Qwen2", _qwen2(*SMALL_QWEN, tied=True), ORZ),
    "Open-Reasoner-Zero/Open-Reasoner-Zero-1.5B": Published("Qwen2", _qwen2(*QWEN_1B, tied=True), ORZ),
    "Open-Reasoner-Zero/Open-Reasoner-Zero-7B": Published("Qwen2", _qwen2(*QWEN_7B), ORZ, padding=16),
    "Open-Reasoner-Zero/Open-Reasoner-Zero-32B": Published("Qwen2", _qwen2(*QWEN_32B), ORZ, padding=16),
    "meta-llama/Llama-3.1-8B": Published("Llama", LLAMA31, LLAMA3, changed=TINY_ROPE),
    "deepseek-ai/DeepSeek-R1-Distill-Llama-8B": Published("Llama", LLAMA31, R1_LLAMA, changed=TINY_ROPE),
    "microsoft/Phi-3.5-mini-instruct": Published(
        "Phi3",
        _sizes(3072, 32, 32, 32, 8192, 32064, 131072) | {
            "rope_theta": 1e4, "original_max_position_embeddings": 4096, "sliding_window": 262144,
            "tie_word_embeddings": False, "attention_bias": False,
            "rope_scaling": {
                "type": "longrope", "short_factor": [1 + n / 24 for n in range(48)],
                "long_factor": [1.08 * 1.085**n for n in range(48)],
            },
        },
        PHI35,
        # Head width 16, and so eight factors of each kind.
        changed={
            "rope_scaling": {
                "type": "longrope", "short_factor": [1 + n / 4 for n in range(8)],
                "long_factor": [1.08 * 1.6**n for n in range(8)],
            }
        },
    ),
    "HuggingFaceTB/SmolLM2-135M-Instruct": Published(
        "Llama", _sizes(576, 30, 9, 3, 1536, 49152, 8192) | {"rope_theta": 1e5, "tie_word_embeddings": True}, SMOLLM,
        padding=0,
    ),
    "Qwen/Qwen3-1.7B-Base": Published("Qwen3", QWEN3_2B, QWEN3),
    "Qwen/Qwen3-1.7B": Published("Qwen3", QWEN3_2B | {"max_position_embeddings": 40960}, QWEN3_CHAT),
    "sail/Qwen2.5-Math-1.5B-Oat-Zero": Published("Qwen2", _qwen2(*MATH_1B, theta=1e4, tied=True), QWEN25),
    "google/gemma-2-2b": Published(
        "Gemma2",
        _sizes(2304, 26, 8, 4, 9216, 256000, 8192) | {
            "head_dim": 256, "query_pre_attn_scalar": 256, "sliding_window": 4096, "attn_logit_softcapping": 50.0,
            "final_logit_softcapping": 30.0, "hidden_activation": "gelu_pytorch_tanh",
        },
        GEMMA,
        # Large logits meet a low cap.
        changed={"attn_logit_softcapping": 2.0, "final_logit_softcapping": 3.0},
    ),
    "google/gemma-3-1b-pt": Published(
        "Gemma3Text",
        _sizes(1152, 26, 4, 1, 6912, 262144, 32768) | {
            "head_dim": 256, "query_pre_attn_scalar": 256, "sliding_window": 512, "rope_theta": 1e6,
            "rope_local_base_freq": 1e4, "hidden_activation": "gelu_pytorch_tanh",
            "layer_types": ["full_attention" if n % 6 == 5 else "sliding_attention" for n in range(26)],
        },
        GEMMA,
        changed={"layer_types": ["sliding_attention", "full_attention"] * 2},
    ),
    "allenai/OLMo-2-0425-1B": Published("Olmo2", OLMO2, OLMO),
    "allenai/OLMo-2-0425-1B-Instruct": Published("Olmo2", OLMO2, OLMO_CHAT),
    "allenai/Olmo-3-1025-7B": Published(
        "Olmo3",
        _sizes(4096, 32, 32, 32, 11008, 100278, 65536) | {
            "rope_theta": 5e5, "tie_word_embeddings": False, "sliding_window": 4096,
            "layer_types": ["full_attention" if n % 4 == 3 else "sliding_attention" for n in range(32)],
            "rope_scaling": {
                "rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 8192,
                "attention_factor": 1.2079441541679836, "beta_fast": 32.0, "beta_slow": 1.0,
            },
        },
        OLMO,
        changed={"layer_types": ["sliding_attention", "full_attention"] * 2},
    ),
}  # fmt: skip
"""As published; of models that no experiment names, one of each family beside."""


# --- folders ----------------------------------------------------------------------------------------------------------


def tiny(hub_id: str, folder: Path, **changed: Any) -> Path:
    """The model in a folder of its own below `folder`, tiny: what `model_pair.ROLE.path` is set to. `changed` are
    entries of its config."""
    place = folder / hub_id.replace("/", "--")
    if not place.exists():
        published = HUB[hub_id]
        tokenizer = write_tokenizer(published.markers, place)
        config = tiny_config(published, len(tokenizer) + published.padding, changed)
        torch.manual_seed(sum(map(ord, hub_id)))
        model: Any = transformers.AutoModelForCausalLM.from_config(config)
        model.save_pretrained(place)
        write_generation_config(published, tokenizer, place)
    return place


def whole(hub_id: str, folder: Path) -> Path:
    """The model's config at its published size beside its tiny tokenizer, and no weights."""
    place = folder / ("whole--" + hub_id.replace("/", "--"))
    if not place.exists():
        published = HUB[hub_id]
        tokenizer = write_tokenizer(published.markers, place)
        _config(published.kind, published.config).save_pretrained(place)
        write_generation_config(published, tokenizer, place)
    return place


def tiny_config(published: Published, vocab: int, changed: dict[str, Any]) -> Any:
    """The config with few layers and narrow ones, the ratio of its heads kept."""
    config = dict(published.config)
    ratio = config["num_attention_heads"] // config["num_key_value_heads"]
    kv_heads = min(2, config["num_key_value_heads"])
    width = 16 if ratio == 1 else 8 if ratio <= 4 else 4
    if "head_dim" in config:  # Which is then no share of the width.
        config |= {"head_dim": 16}
    small = {
        "num_hidden_layers": FEW_LAYERS, "num_key_value_heads": kv_heads, "num_attention_heads": ratio * kv_heads,
        "hidden_size": ratio * kv_heads * width, "intermediate_size": 48, "vocab_size": vocab,
        # Sharp and varied laws: at the usual 0.02 all tokens are alike.
        "initializer_range": 0.2,
    }  # fmt: skip
    if "max_window_layers" in config:
        small |= {"max_window_layers": FEW_LAYERS}
    if "query_pre_attn_scalar" in config:
        small |= {"query_pre_attn_scalar": 16}
    return _config(published.kind, config | small | published.changed | changed)


def _config(kind: str, values: dict[str, Any]) -> Any:
    name = {"Gemma3Text": "Gemma3TextConfig"}.get(kind, f"{kind}Config")
    ids = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    return getattr(transformers, name)(**(ids | values))


def write_generation_config(published: Published, tokenizer: Any, place: Path) -> None:
    """Stop ids, a list where there are several; config.json has the first one."""
    names = published.markers.stops or (published.markers.eos,)
    ids = [tokenizer.convert_tokens_to_ids(name) for name in names]
    told = {"eos_token_id": ids if len(ids) > 1 else ids[0], "bos_token_id": tokenizer.bos_token_id}
    (place / "generation_config.json").write_text(
        json.dumps(told | {"temperature": 0.6, "top_k": 20, "do_sample": True})
    )
    config = json.loads((place / "config.json").read_text())
    (place / "config.json").write_text(json.dumps(config | {"eos_token_id": ids[0]}))


def write_tokenizer(markers: Markers, place: Path) -> Any:
    """tokenizer.json and tokenizer_config.json; the tokenizer as transformers reads them."""
    place.mkdir(parents=True)
    tokenizer = Tokenizer.from_str(_trained(markers.kind))
    # Phi's markers take the white space behind them.
    strips = markers.template == PHI_CHAT
    tokenizer.add_tokens(
        [AddedToken(name, special=name not in markers.plain, normalized=False, rstrip=strips) for name in markers.names]
    )
    # Phi's add_bos_token is false in its files, Gemma's, Llama's and the distilled models' true.
    adds = markers.bos is not None and not strips
    if adds:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{markers.bos} $A", special_tokens=[(markers.bos, tokenizer.token_to_id(markers.bos))]
        )
    if markers.kind == "pieces" and markers.tokenizer_class == "LlamaTokenizer":  # A space before the text, once.
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        tokenizer.decoder = decoders.Sequence([*_PIECES, decoders.Strip(" ", 1, 0)])
    tokenizer.save(str(place / "tokenizer.json"))
    named = {"bos_token": markers.bos, "eos_token": markers.eos, "pad_token": markers.pad, "unk_token": markers.unk}
    told = named | {"tokenizer_class": markers.tokenizer_class, "add_bos_token": adds, "model_max_length": 2**17}
    told |= {"clean_up_tokenization_spaces": False, "add_eos_token": False}
    if markers.template is not None:
        told |= {"chat_template": markers.template}
    (place / "tokenizer_config.json").write_text(json.dumps(told))
    return transformers.AutoTokenizer.from_pretrained(place)


_PIECES = (decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse())


@cache
def _trained(kind: str) -> str:
    """A tokenizer of a kind without markers, as JSON: every tokenizer of the kind learnt the same merges."""
    texts = _texts()
    if kind == "bytes":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.normalizer = normalizers.NFC()
        split = pre_tokenizers.Split(Regex(QWEN_SPLIT), "isolated")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)])
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        tokenizer.train_from_iterator(
            texts, trainers.BpeTrainer(vocab_size=WORDS, initial_alphabet=alphabet, show_progress=False)
        )
        return tokenizer.to_str()
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    tokenizer.decoder = decoders.Sequence(list(_PIECES))
    first = ["<pad>", "<unk>", "<s>", "<bos>", "<eos>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=WORDS + 256, special_tokens=first, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    told = json.loads(tokenizer.to_str())
    # Bytes stand in the table, and are no markers.
    told["added_tokens"] = [each for each in told["added_tokens"] if not each["content"].startswith("<0x")]
    return json.dumps(told)


def _texts() -> Sequence[str]:
    """What the tokenizers learn from: the golden rows of all benchmarks."""
    return [line for file in sorted(GOLDEN.glob("*.jsonl")) for line in file.read_text().splitlines()]
