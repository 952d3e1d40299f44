"""Claims about one model's tokenizer: prompts, markers, stop ids, think tags; and about two models' vocabularies."""

from collections.abc import Iterator, Sequence

from reasoning_lab.checkup.findings import Broken, Claim
from reasoning_lab.model_pair.reader import Reader
from reasoning_lab.steering.hybrid.vocabulary import map_vocabularies

ANSWER = "So it is 7."
"""Of the turn of a model, in a rendered conversation."""


def token_claims(subject: str, reader: Reader, prompt: str, tags: Sequence[str]) -> Iterator[Claim]:
    """Arguments: `prompt` is a problem's, as the benchmark writes it; `tags` are those around a thinking text."""
    yield Claim(subject, "the tokenizer gives a prompt back", lambda: _round_trip(reader, prompt))
    yield Claim(subject, "the prompt holds the problem", lambda: _template(reader, prompt))
    yield Claim(subject, "one BOS where the model has one", lambda: _bos(reader, prompt))
    yield Claim(subject, "an answer's end is a stop id", lambda: _stop_ids(reader))
    for tag in tags:
        yield Claim(subject, f"{tag} can be written and is read", lambda tag=tag: _tag(reader, tag))


def vocabulary_claims(base: Reader, other: Reader, subject: str, steers: bool) -> Iterator[Claim]:
    """Between the base model and another of its pair; `steers`: whether the other reads the base's text as it grows."""
    yield Claim(subject, "the vocabularies map", lambda: _vocabularies(base, other, steers))


def _round_trip(reader: Reader, prompt: str) -> str:
    try:
        reader.check_round_trip(prompt)
    except ValueError as error:
        raise Broken(
            str(error), "take tokenizer.json and tokenizer_config.json from where the weights are from"
        ) from error
    return f"{len(reader.encode(prompt))} tokens"


def _template(reader: Reader, prompt: str) -> str:
    rendered = reader.render(prompt)
    if prompt.strip() not in rendered:
        found = f"{reader.prompt_format}: the model would read {rendered[:80]!r}"
        raise Broken(found, "the chat template drops the user's turn: take the model's own, or prompt_format=raw")
    told = rendered.replace(prompt.strip(), "…")
    return f"{reader.prompt_format}: {told[-60:]!r}" if reader.prompt_format == "chat" else "raw: as it is"


def _bos(reader: Reader, prompt: str) -> str:
    bos, ids = reader.tokenizer.bos_token_id, reader.encode(prompt)
    own = list(reader.tokenizer("a")["input_ids"])
    adds = bos is not None and own[:1] == [bos]
    n = 0 if bos is None else next((at for at, id in enumerate(ids) if id != bos), len(ids))
    if bos is not None and bos in reader.stop_ids:
        return f"none of its own: {reader.tokenizer.bos_token!r} ends texts too"
    if n > 1:
        raise Broken(
            f"{n} of them", "the template writes one and the tokenizer adds another: set add_bos_token to false"
        )
    if adds and n == 0:
        found = f"none, though the tokenizer begins texts with {reader.tokenizer.bos_token!r}"
        raise Broken(found, "write bos_token into the chat template, as the model's own has it")
    return f"{reader.tokenizer.bos_token!r}" if n else "none, and the tokenizer adds none"


def _stop_ids(reader: Reader) -> str:
    """The token that the template writes behind an answer must be one; else every answer runs to its cap."""
    names = [reader.tokenizer.convert_ids_to_tokens(id) for id in sorted(reader.stop_ids)]
    if None in names:
        at = sorted(reader.stop_ids)[names.index(None)]
        raise Broken(f"stop id {at} is no token", "set eos_token_id in generation_config.json to ids of this tokenizer")
    if reader.prompt_format == "chat" and (end := _end_of_turn(reader)) is not None and end not in reader.stop_ids:
        name = reader.tokenizer.convert_ids_to_tokens(end)
        found = f"the template ends an answer by {name!r}, and stop ids are {', '.join(map(repr, names))}"
        raise Broken(found, f"add {end} to eos_token_id in generation_config.json")
    return ", ".join(map(repr, names))


def _end_of_turn(reader: Reader) -> int | None:
    """The added token that the template writes first behind an answer; None where it writes none."""
    turns = [{"role": "user", "content": "What is 3 + 4?"}, {"role": "assistant", "content": ANSWER}]
    rendered = reader.tokenizer.apply_chat_template(turns, tokenize=False)
    _, is_there, behind = rendered.rpartition(ANSWER)
    ids = reader.tokenizer(behind.lstrip(), add_special_tokens=False)["input_ids"] if is_there else []
    added = reader.tokenizer.added_tokens_decoder
    return ids[0] if ids and ids[0] in added else None


def _tag(reader: Reader, tag: str) -> str:
    try:
        ids = reader.encode_inserted(tag)
    except ValueError as error:
        move = "set taxonomy.think_open and think_close to the tags that this model writes, or to null"
        raise Broken(" ".join(str(error).split()), move) from error
    if reader.decode(ids) != tag:
        found = f"{tag} is a special token: it is left out of every answer's text"
        raise Broken(found, "mark it special: false in the tokenizer's added tokens, or set the tag to null")
    return f"{len(ids)} token{'s' if len(ids) > 1 else ''}"


def _vocabularies(base: Reader, other: Reader, steers: bool) -> str:
    sizes = len(base.tokenizer), len(other.tokenizer)
    try:
        found = map_vocabularies(base.tokenizer, other.tokenizer, *sizes)
    except ValueError as error:
        why = "a hybrid reads token by token" if steers else "its answers are scored by the base model token by token"
        raise Broken(" ".join(str(error).split()), f"{why}: choose models of one tokenizer family") from error
    if steers and (missing := [id for id in base.stop_ids if not found.exact[id]]):
        name = base.tokenizer.convert_ids_to_tokens(missing[0])
        raise Broken(
            f"the base's stop token {name!r} is no token of the other", "choose models of one tokenizer family"
        )
    differ = sum(ours != theirs for ours, theirs in enumerate(found.to_thinking))
    return (
        f"{sum(found.exact):,} of {sizes[0]:,} tokens are the same, {differ:,} under another id or by their end of text"
    )
