"""What only the models know, looked up before anything is drawn: prompts that fit, layers that are there."""

from collections.abc import Iterable, Sequence
from typing import Any

from reasoning_lab.artifacts.base import Artifact
from reasoning_lab.artifacts.completions import Completions
from reasoning_lab.artifacts.cue import Cue
from reasoning_lab.artifacts.taxonomy import TaxonomyClusters
from reasoning_lab.artifacts.vectors import SteeringVectors
from reasoning_lab.model_pair.pair import ModelSource
from reasoning_lab.model_pair.reader import load_reader
from reasoning_lab.sampler.base import Words
from reasoning_lab.sampler.cue import Cued


def preflight(artifacts: Iterable[Artifact[Any]], max_prompt_tokens: int) -> None:
    """ValueError for the first of the artifacts that can't be built; no weights are read."""
    for artifact in artifacts:
        if isinstance(artifact, Completions):
            check_prompts(artifact, max_prompt_tokens)
            _check_sampler(artifact)
        elif isinstance(artifact, Cue):
            check_prompts(artifact.without(), max_prompt_tokens)
            # The longest opening there can be.
            Cued(artifact.sampler, cue_ids=(1,) * artifact.openings.depth)
        elif isinstance(artifact, TaxonomyClusters):
            _check_layers("thinking", "taxonomy.layers", artifact.thinking, artifact.activations.layers)
        elif isinstance(artifact, SteeringVectors):
            _check_layers("base", "steering.layer", artifact.model, (artifact.layer,))


def check_prompts(completions: Completions, limit: int) -> None:
    """A model that isn't there, a prompt that can't be read or has more than `limit` tokens, no room for the answer."""
    reader = load_reader(completions.model)
    for problem in completions.problems.problems:
        text = completions.problems.benchmark.prompt(problem)
        reader.check_round_trip(text)
        n = len(reader.encode(text))
        if not 0 < n <= limit:
            raise ValueError(
                f"problem {problem.id}: its prompt has {n} tokens, runtime.max_prompt_tokens={limit}: must be 1 to "
                f"that many; raise it to the longest prompt's length. The prompt begins {text[:40]!r}."
            )
    longest = completions.sampler.max_new_tokens
    if limit >= reader.context_length:
        raise ValueError(
            f"runtime.max_prompt_tokens={limit}: must be below the {reader.context_length} positions of the model "
            f"{completions.model.path}; lower it to the longest prompt's length."
        )
    if limit + longest > reader.context_length:
        raise ValueError(
            f"runtime.max_prompt_tokens={limit} + max_new_tokens={longest} exceed the {reader.context_length} "
            f"positions of the model {completions.model.path}; lower benchmark.max_new_tokens to at most "
            f"{reader.context_length - limit}."
        )


def _check_sampler(completions: Completions) -> None:
    """A text of the sampler's own that the model can't write."""
    reader = load_reader(completions.model)
    completions.sampler.check(Words(reader.encode_inserted, reader.stop_ids, len(reader.tokenizer)))


def _check_layers(role: str, key: str, model: ModelSource, layers: Sequence[int]) -> None:
    n = load_reader(model).n_layers
    if missing := [layer for layer in layers if not 0 <= layer < n]:
        raise ValueError(f"{key}: the {role} model has no layer {missing[0]}; its layers are 0 ... {n - 1}.")
