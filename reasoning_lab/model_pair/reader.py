"""A model's tokenizer and what else is known of it without its weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

from reasoning_lab.engine.policy import context_length
from reasoning_lab.model_pair.pair import ModelSource, PromptFormat


@dataclass(frozen=True)
class Reader:
    """Turns texts into a model's ids and back, in its prompt format."""

    tokenizer: Any
    stop_ids: frozenset[int]
    """End of text, and every stop id of the model's generation config: one set for all samplers (departures D6)."""
    context_length: int
    """Most positions, prompt included."""
    n_layers: int
    """Decoder layers, counted from 0 wherever one is named."""
    prompt_format: PromptFormat
    vocab_size: int
    """Ids that the model has logits of; its tokenizer may have fewer."""

    def render(self, text: str) -> str:
        """The prompt in the model's prompt format, as text."""
        if self.prompt_format == "raw":
            return text
        turn = [{"role": "user", "content": text}]
        return self.tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)

    def encode(self, text: str) -> tuple[int, ...]:
        """Token ids of a prompt, in the model's prompt format."""
        if self.prompt_format == "chat":
            return tuple(self.tokenizer(self.render(text), add_special_tokens=False)["input_ids"])
        ids = list(self.tokenizer(text)["input_ids"])
        while ids and ids[-1] in self.stop_ids:
            ids.pop()  # Some tokenizers end every text; a prompt goes on.
        return tuple(ids)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of generated ids, special tokens left out."""
        return self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def encode_inserted(self, text: str) -> tuple[int, ...]:
        """Ids of a text that is put into an answer, encoded by itself and without special tokens; ValueError where the
        vocabulary lacks a part of it or the ids stand for another text."""
        ids = tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        back = self.tokenizer.decode(list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False)
        if self.tokenizer.unk_token_id in ids or back != text:
            raise ValueError(
                f"{text!r}: this model's vocabulary lacks a part of it, or writes it as {back!r}; change the sampler's "
                "text."
            )
        return ids

    def check_round_trip(self, text: str) -> None:
        """Encoding and decoding `text` gives it back; else answers would be graded on other text than was drawn."""
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        back = self.tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        if back != text:
            pairs = enumerate(zip(text, back, strict=False))
            at = next((i for i, (a, b) in pairs if a != b), min(len(text), len(back)))
            raise ValueError(
                f"the tokenizer does not give a prompt back: {text[max(0, at - 10) : at + 20]!r} became "
                f"{back[max(0, at - 10) : at + 20]!r}; check that the folder's tokenizer files belong to the model."
            )


@cache
def load_reader(source: ModelSource) -> Reader:
    """Tokenizer, config and generation config by transformers, no weights."""
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    where, options = where_of(source)
    try:
        tokenizer = AutoTokenizer.from_pretrained(where, **options)
        config = AutoConfig.from_pretrained(where, **options)
    except OSError as error:
        raise not_found(where, error) from error
    try:
        configured = GenerationConfig.from_pretrained(where, revision=options.get("revision", "main")).eos_token_id
    except OSError:  # Not every model has the file.
        configured = config.eos_token_id
    ids = set(configured if isinstance(configured, list) else [configured]) | {tokenizer.eos_token_id}
    ids.discard(None)
    if not ids:
        raise ValueError(f"{where!r} has no stop id: set eos_token in its tokenizer or generation_config.json.")
    n_layers = config.get_text_config().num_hidden_layers
    return Reader(tokenizer, frozenset(ids), context_length(config), n_layers, source.prompt_format, config.vocab_size)


def where_of(source: ModelSource) -> tuple[str, dict[str, Any]]:
    """Folder or hub id, and what from_pretrained needs beside it."""
    folder = source.folder()
    options: dict[str, Any] = {"revision": source.commit} if folder is None and source.commit else {}
    if source.gguf_file is not None:
        if find_spec("gguf") is None:
            raise ValueError("loading a GGUF file needs the extra `small`: run `pip install -e '.[small]'`.")
        options["gguf_file"] = source.gguf_file
    return str(folder or source.path), options


def not_found(where: str, error: OSError) -> ValueError:
    """The error of a model that is neither here nor on the hub, with what to set."""
    return ValueError(
        f"cannot load {where!r}: not a local folder, and the hub does not give it ({str(error).splitlines()[0]}). "
        "Without a network set model_pair.base.path (and its siblings) to a local folder, or HF_HOME to a cache that "
        "holds it."
    )
