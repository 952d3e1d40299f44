"""Traces: completions of a thinking model with their sentences and verdicts."""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

from reasoning_lab.records import Completion, Grade, Trace, Verdict
from reasoning_lab.taxonomy.spans import Decode, token_spans

_REMEMBERED = 2**16
"""Decoded windows kept: most pairs of tokens come again."""


def traces_of(
    completions: Iterable[Completion],
    grades: Iterable[Grade],
    prompts: Mapping[str, tuple[int, ...]],
    decode: Decode,
    think_open: str | None = None,
    think_close: str | None = None,
) -> Iterator[Trace]:
    """One trace per completion, in their order.

    The stop id at the end of a completion that stopped by itself is among the trace's ids but in no span: it writes
    nothing, and its activation would mark the last sentence of each finished trace.

    Arguments: `grades` may come in any order; `prompts` maps problem ids to the prompt's ids as the thinking model read
    them; `decode` is its reader's; the tags are those of `spans.sentences`. ValueError for a completion without a
    grade or prompt, or whose ids do not decode to its text.
    """
    verdicts: dict[tuple[str, int], Verdict] = {(grade.problem, grade.chain): grade.verdict for grade in grades}
    remembered = lru_cache(maxsize=_REMEMBERED)(decode)
    for completion in completions:
        where = f"problem {completion.problem!r}, chain {completion.chain}"
        if (verdict := verdicts.get((completion.problem, completion.chain))) is None:
            raise ValueError(f"{where} has no grade; grade all completions before making traces of them.")
        if (prompt := prompts.get(completion.problem)) is None:
            raise ValueError(f"{where} has no prompt; give the prompts that the completions were drawn from.")
        written = completion.ids[:-1] if completion.finish == "stop" else completion.ids
        try:
            spans = token_spans(completion.text, written, remembered, think_open, think_close)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
        yield Trace(completion.problem, completion.chain, completion.text, prompt, completion.ids, spans, verdict)
