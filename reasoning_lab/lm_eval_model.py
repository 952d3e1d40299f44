"""The lab's samplers as a model of lm-evaluation-harness (extra `lm-eval`), so that its tasks run with power sampling.

From a shell, this module stands in for lm-eval's own command (no comma in the overrides, for lm-eval splits there):

    python -m reasoning_lab.lm_eval_model run --model reasoning_lab --tasks gsm8k \\
        --model_args "overrides=model_pair=qwen2.5-7b sampler=power_paper runtime.max_prompt_tokens=1024"

In Python: `lm_eval.simple_evaluate(model=LabLM("sampler=power"), tasks=[...])`. The module is at the top of the house,
beside main, for it composes configs.
"""

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from reasoning_lab.artifacts.lab import read_lines, write_lines
from reasoning_lab.artifacts.recipes import CompletionsRecipe, prompts_digest
from reasoning_lab.artifacts.sampling import Shape, draw_completions
from reasoning_lab.artifacts.store import RunLog, Store
from reasoning_lab.engine.policy import Chain, score
from reasoning_lab.engine.rng import Key
from reasoning_lab.engine.scheduler import run
from reasoning_lab.experiment import Experiment
from reasoning_lab.launch.config import Composer, build
from reasoning_lab.model_pair.loaded import load_model, resolve_device
from reasoning_lab.model_pair.pair import Role
from reasoning_lab.records import Completion
from reasoning_lab.steering.steering import NoSteering

try:
    from lm_eval.api.model import TemplateLM  # pyright: ignore[reportMissingImports]
    from lm_eval.api.registry import register_model  # pyright: ignore[reportMissingImports]
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window  # pyright: ignore[reportMissingImports]
except ImportError as error:
    raise ImportError("lm-evaluation-harness is not installed: run `pip install -e '.[lm-eval]'`.") from error


@register_model("reasoning_lab")
class LabLM(TemplateLM):
    """A model of the pair, drawn from by the config's sampler, scored by forced decoding.

    Arguments: `overrides` are Hydra's, as on the command line; `role` is the model of the pair. lm-eval's own device
    and batch sizes, which its command always gives, are not read: runtime.device and runtime.rows are.

    How a task's settings are met: the config's sampler is the law, so temperature, do_sample and their like change
    nothing. `max_gen_toks` is benchmark.max_new_tokens. The law ends at the model's stop ids alone; an answer is cut at
    the first text of `until` after it is drawn. The repeats of a request are chains of one problem. Chat templates come
    from model_pair.<role>.prompt_format, and the whole context is one user's turn.

    Answers are artifacts below the config's `outputs`: a killed evaluation goes on, a second one draws nothing.
    """

    def __init__(
        self,
        overrides: str = "",
        role: Role = "base",
        config_dir: str | None = None,
        device: str | None = None,
        batch_size: int | str | None = None,
        max_batch_size: int | None = None,
    ) -> None:
        super().__init__()
        given = shlex.split(overrides)
        # The usual arms need models and budgets that one sampler on one model doesn't.
        arms = [] if any(line.startswith(("arms=", "experiment=")) for line in given) else ["arms=single"]
        self._overrides = [*given, *arms]
        self._composer = Composer(config_dir)
        self._role: Role = role
        self.experiment = _checked(self._experiment(None))
        runtime, pair = self.experiment.runtime, self.experiment.model_pair
        if runtime.threads:
            import torch

            torch.set_num_threads(runtime.threads)
        self._model = load_model(pair.source(role), pair.dtype, resolve_device(runtime.device))
        self._store = Store(Path(self.experiment.outputs) / "artifacts")
        self._store.runtime = vars(runtime)
        self.tokenizer = self._model.reader.tokenizer
        self._check_fits(self.experiment)

    # -- drawing -------------------------------------------------------------------------------------------------------

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """An answer per request, in order. A context that doesn't fit is a ValueError before anything is drawn."""
        contexts = [request.args[0] for request in requests]
        for context in contexts:
            self._check_context(context)
        items = _numbered([f"{r.task_name}/{r.doc_id}/{r.idx}" for r in requests])
        n_chains = Counter(name for name, _ in items)
        draws: dict[tuple[str, int | None, int], dict[str, str]] = {}
        for request, context, (name, _) in zip(requests, contexts, items, strict=True):
            what = (str(request.task_name), request.args[1].get("max_gen_toks"), n_chains[name])
            draws.setdefault(what, {})[name] = context
        answers: dict[tuple[str, int], str] = {}
        for (_task, cap, n), prompts in draws.items():
            answers |= {(found.problem, found.chain): found.text for found in self._completions(cap, prompts, n)}
        return [
            _until(answers[item], request.args[1].get("until")) for item, request in zip(items, requests, strict=True)
        ]

    def _completions(self, cap: int | None, prompts: dict[str, str], n_chains: int) -> list[Completion]:
        """The answers to `prompts`, by name, from the store, or drawn now."""
        experiment = self._experiment(cap)
        self._check_fits(experiment)
        recipe = self._recipe(experiment, prompts, n_chains)

        def draw(folder: Path) -> None:
            log = RunLog(self._store.log_path(recipe))
            encoded = {name: self._model.encode(text) for name, text in prompts.items()}
            try:
                found, _ = draw_completions(
                    self._model, experiment.sampler, encoded, (0, n_chains), experiment.seed,
                    lambda text: _vote(experiment, text), self._shape, log, experiment.runtime.checkpoint_seconds,
                    lambda _: None,
                )  # fmt: skip
            finally:
                log.close()
            write_lines(folder / "completions.jsonl", [completion.dumps() for completion in found])

        folder = self._store.get_or_build(recipe, draw)
        return [Completion.from_json(line) for line in read_lines(folder / "completions.jsonl")]

    def _recipe(self, experiment: Experiment, prompts: dict[str, str], n_chains: int) -> CompletionsRecipe:
        pair, sampler = experiment.model_pair, experiment.sampler
        return CompletionsRecipe(
            name=f"{pair.name}-{self._role}-{type(sampler).__name__}-lm_eval".lower(),
            model=pair.source(self._role).identity(),
            dtype=pair.dtype,
            steering=NoSteering(),
            sampler=sampler,
            prompts=prompts_digest(list(prompts.items())),
            seed=experiment.seed,
            chains=(0, n_chains),
        )

    def _experiment(self, cap: int | None) -> Experiment:
        """The config's experiment, its answers capped as a task wants."""
        capped = [] if cap is None else [f"benchmark.max_new_tokens={cap}"]
        experiment = build(self._composer.compose([*self._overrides, *capped]))
        if cap is not None and experiment.sampler.max_new_tokens != cap:
            raise ValueError(
                f"sampler.max_new_tokens={experiment.sampler.max_new_tokens}: the task's max_gen_toks is {cap}; leave "
                "the sampler's at ${benchmark.max_new_tokens}."
            )
        return experiment

    # -- scoring -------------------------------------------------------------------------------------------------------

    def _loglikelihood_tokens(
        self, requests: list[tuple[Any, list[int], list[int]]], **_: Any
    ) -> list[tuple[float, bool]]:
        """Sum of log p over the continuation, and whether each of its ids is the most probable, per request
        (anything, context ids, continuation ids)."""
        for _what, context, ids in requests:
            if len(context) + len(ids) > self.max_length:
                raise ValueError(
                    f"a context of {len(context)} and a continuation of {len(ids)} tokens exceed {self.max_length} "
                    "positions; raise runtime.max_prompt_tokens in overrides."
                )
        found = dict(self._forced([(tuple(context), tuple(ids)) for _what, context, ids in requests]))
        return [_likelihood(found[number]) for number in range(len(requests))]

    def _forced(self, pairs: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]) -> Iterator[tuple[int, Chain]]:
        """Per pair of prompt ids and ids its number and the forced chain, with the most probable id at each."""
        tasks = ((number, _scored(*pair)) for number, pair in enumerate(pairs))
        return run(self._model.policy, tasks, self._shape.rows, self.max_length)

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        """Log-likelihood of each text, in windows of all positions, after the prefix token."""
        totals = []
        for request in requests:
            ids = self.tok_encode(request.args[0], add_special_tokens=False)
            windows = get_rolling_token_windows(ids, self.prefix_token_id, self.max_length - 1, 1)
            parts = [(None, *make_disjoint_window(window)) for window in windows]
            totals.append(sum(value for value, _ in self._loglikelihood_tokens(parts)))
        return totals

    # -- text and ids --------------------------------------------------------------------------------------------------

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: Any) -> list[int]:
        """Ids of a text; as a prompt, unless told to add no special tokens."""
        if add_special_tokens is False:
            return list(self.tokenizer(string, add_special_tokens=False)["input_ids"])
        return list(self._model.encode(string))

    def _encode_pair(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """Ids of context and continuation; after a user's turn the continuation starts anew."""
        if self._model.reader.prompt_format == "chat":
            return self.tok_encode(context), self.tok_encode(continuation, add_special_tokens=False)
        return super()._encode_pair(context, continuation)

    @property
    def eot_token_id(self) -> int:
        """The tokenizer's end of text, else the smallest stop id."""
        eos = self.tokenizer.eos_token_id
        return min(self._model.stop_ids) if eos is None else eos

    @property
    def prefix_token_id(self) -> int:
        """What an empty context is: the tokenizer's start of text, else its end."""
        bos = self.tokenizer.bos_token_id
        return self.eot_token_id if bos is None else bos

    @property
    def max_length(self) -> int:
        """Positions, prompt included."""
        return self._shape.max_prompt_tokens + self.experiment.sampler.max_new_tokens

    @property
    def tokenizer_name(self) -> str:
        """Where it comes from."""
        return self.experiment.model_pair.source(self._role).path

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Refused."""
        raise ValueError(
            f"--apply_chat_template: set model_pair.{self._role}.prompt_format=chat in overrides instead, which wraps "
            "each context as one user's turn."
        )

    def get_model_info(self) -> dict[str, Any]:
        """What lm-eval's results say of the model beside its arguments."""
        pair, sampler = self.experiment.model_pair, self.experiment.sampler
        return {"model_dtype": pair.dtype, "model_role": self._role, "sampler": repr(sampler), "note": pair.note}

    @property
    def _shape(self) -> Shape:
        return Shape(self.experiment.runtime.rows, self.experiment.runtime.max_prompt_tokens)

    def _check_fits(self, experiment: Experiment) -> None:
        limit, most = self._shape.max_prompt_tokens, self._model.reader.context_length
        if limit + experiment.sampler.max_new_tokens > most:
            raise ValueError(
                f"runtime.max_prompt_tokens={limit} + max_new_tokens={experiment.sampler.max_new_tokens} exceed the "
                f"{most} positions of the {self._role} model; lower either in overrides, or the task's max_gen_toks."
            )

    def _check_context(self, context: str) -> None:
        reader, limit = self._model.reader, self._shape.max_prompt_tokens
        reader.check_round_trip(context)
        if not 0 < (n := len(reader.encode(context))) <= limit:
            raise ValueError(
                f"a context has {n} tokens, runtime.max_prompt_tokens={limit}: must be 1 to that many; raise it in "
                f"overrides, or give fewer examples. The context begins {context[:40]!r}."
            )


def _checked(experiment: Experiment) -> Experiment:
    """The experiment, where it has no more than a sampler on a model as it is."""
    if not isinstance(experiment.steering, NoSteering):
        raise ValueError("steering: a steered model's vectors belong to a run; set steering=none in overrides.")
    matched = getattr(getattr(experiment.sampler, "pool", experiment.sampler), "tokens_matched_to", None)
    if matched is not None:
        raise ValueError(f"tokens_matched_to={matched}: there is no other arm here; set n or budget in overrides.")
    return experiment


def _numbered(names: Sequence[str]) -> list[tuple[str, int]]:
    """Each name with how often it came before: repeats are chains."""
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        found.append((name, seen[name]))
        seen[name] += 1
    return found


def _until(text: str, until: str | Sequence[str] | None) -> str:
    """The text before the first stop text."""
    stops = [until] if isinstance(until, str) else until or []
    return text[: min((at for stop in stops if stop and (at := text.find(stop)) >= 0), default=len(text))]


def _vote(experiment: Experiment, text: str) -> str | None:
    """The answer in the form in which it votes, read as the config's benchmark reads it."""
    answer = experiment.benchmark.answer(text)
    return None if answer is None else experiment.benchmark.canonical(answer)


def _scored(prompt: tuple[int, ...], ids: tuple[int, ...]) -> Any:
    if not ids:
        return Chain(prompt)
    return (yield replace(score(prompt, ids, Key(0, "")), n_alternatives=1))


def _likelihood(chain: Chain) -> tuple[float, bool]:
    best = [alternatives[0][0] for alternatives in chain.alternatives]
    return sum(chain.log_p), best == list(chain.tokens)


def main() -> None:
    """lm-eval's own command, which finds the model under its name."""
    from lm_eval.__main__ import cli_evaluate  # pyright: ignore[reportMissingImports]

    cli_evaluate()


if __name__ == "__main__":
    main()
