"""Two vocabularies, token by token: how a base model's text is read by the thinking model, and back.

Ids are mapped and never strings: the authors' code re-encodes each chosen token as text, which can change or split it,
and compares ids of two tokenizers without a check (departures B7; `match_strings` does as they do).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from transformers import PreTrainedTokenizerBase

SHOWN = 8
"""Tokens that an error lists."""
ROLES = ("eos_token", "bos_token", "pad_token", "unk_token")


@dataclass(frozen=True)
class VocabularyMap:
    """Which id of one model stands for which of the other."""

    to_thinking: tuple[int, ...]
    """By base id: the id that the thinking model reads in its place."""
    to_base: tuple[int, ...]
    """By thinking id: the same token's base id, or -1 where the base vocabulary has none."""
    exact: tuple[bool, ...]
    """By base id: whether `to_thinking` is the same token. Ids that stand for no text (unused rows of an embedding,
    markers that the other model lacks) are read as the thinking model's end of text."""
    read_as: Mapping[int, int] = field(default_factory=dict)
    """By thinking id of `to_base` -1: what the base model reads in its place where it stands for no text (an unused
    row, a marker such as </think> that is no token of the base's): its end of text."""

    def in_base(self, ids: Sequence[int]) -> tuple[int, ...]:
        """The thinking model's ids as the base model reads them, one for one; ValueError for a text that the base
        vocabulary lacks."""
        mapped = tuple(self.read_as.get(id, self.to_base[id]) for id in ids)
        if -1 in mapped:
            raise ValueError(
                f"id {ids[mapped.index(-1)]} of the thinking model has no counterpart in the base vocabulary: its text "
                "can't be read by the base model; choose a model_pair of one tokenizer family."
            )
        return mapped


def map_vocabularies(
    base: PreTrainedTokenizerBase, thinking: PreTrainedTokenizerBase, base_size: int, thinking_size: int
) -> VocabularyMap:
    """The map between two tokenizers' ids.

    Arguments: tokenizers, and the models' vocabulary sizes (logits). Tokens correspond where their entries in the
    tables are the same string; special tokens by their role first (end of text to end of text), then by their string.
    Raises ValueError if any other token of the base vocabulary has no counterpart: a text that holds it could not be
    read by the thinking model.
    """
    ours, theirs = base.get_vocab(), thinking.get_vocab()
    pairs = _pairs(base, thinking, ours, theirs)
    missing = sorted((id, token) for token, id in ours.items() if id < base_size and id not in pairs)
    special = set(base.all_special_ids)
    if lost := [token for id, token in missing if id not in special and not _is_added(base, id)]:
        raise ValueError(
            f"the thinking model's vocabulary lacks {len(lost)} of the base model's {len(ours)} tokens "
            f"({', '.join(map(repr, lost[:SHOWN]))}{' ...' if len(lost) > SHOWN else ''}): it could not read the base "
            "model's text token by token; choose a model_pair of one tokenizer family."
        )
    end = _end_of_text(thinking, "thinking")
    to_thinking = [pairs.get(id, end) for id in range(base_size)]
    to_base = [-1] * thinking_size
    for id, other in pairs.items():
        if id < base_size and other < thinking_size:
            to_base[other] = id
    read_as = _without_text(thinking, to_base, _end_of_text(base, "base"))
    return VocabularyMap(tuple(to_thinking), tuple(to_base), tuple(id in pairs for id in range(base_size)), read_as)


def match_strings(
    base: PreTrainedTokenizerBase, thinking: PreTrainedTokenizerBase, base_size: int, thinking_size: int
) -> VocabularyMap:
    """The authors' way between two vocabularies, for comparison (departures B7); arguments as of `map_vocabularies`.

    The thinking model reads, of each base token, the first piece that its own tokenizer makes of that token's text by
    itself; and its choice differs from the base model's where the numbers of the two ids do. Nothing is refused.
    Departure: theirs appends all pieces, to either model's text; one base token is one thinking token here.
    """
    texts = base.batch_decode([[id] for id in range(len(base))], clean_up_tokenization_spaces=False)
    pieces = thinking(texts, add_special_tokens=False)["input_ids"]
    end = _end_of_text(thinking, "thinking")
    to_thinking = [pieces[id][0] if id < len(pieces) and pieces[id] else end for id in range(base_size)]
    to_base = [id if id < base_size else -1 for id in range(thinking_size)]
    read_as = _without_text(thinking, to_base, _end_of_text(base, "base"))
    return VocabularyMap(tuple(to_thinking), tuple(to_base), (True,) * base_size, read_as)


def _pairs(
    base: PreTrainedTokenizerBase,
    thinking: PreTrainedTokenizerBase,
    ours: Mapping[str, int],
    theirs: Mapping[str, int],
) -> dict[int, int]:
    """Thinking id by base id where both stand for the same token; no id of either is in two pairs."""
    roles: dict[int, int] = {}
    for role in ROLES:
        ours_id, theirs_id = getattr(base, f"{role}_id"), getattr(thinking, f"{role}_id")
        if None not in (ours_id, theirs_id) and ours_id not in roles and theirs_id not in roles.values():
            roles[ours_id] = theirs_id
    taken = set(roles.values())
    same = {id: theirs[token] for token, id in ours.items() if token in theirs}
    return {id: other for id, other in same.items() if id not in roles and other not in taken} | roles


def _end_of_text(tokenizer: PreTrainedTokenizerBase, whose: str) -> int:
    if not isinstance(end := tokenizer.eos_token_id, int):
        raise ValueError(
            f"the {whose} model's tokenizer has no end of text; set eos_token in its tokenizer_config.json."
        )
    return end


def _without_text(tokenizer: PreTrainedTokenizerBase, mapped: Sequence[int], end: int) -> dict[int, int]:
    """`end` by each id that is mapped to none and stands for no text: markers and unused rows."""
    words = set(tokenizer.get_vocab().values()) - set(tokenizer.all_special_ids)
    return {id: end for id, other in enumerate(mapped) if other < 0 and (id not in words or _is_added(tokenizer, id))}


def _is_added(tokenizer: PreTrainedTokenizerBase, id: int) -> bool:
    """Whether a token was added to the trained table as a marker."""
    return id in getattr(tokenizer, "added_tokens_decoder", {})
