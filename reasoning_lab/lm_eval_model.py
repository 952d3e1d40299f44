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
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from reasoning_lab.artifacts.completions import Completions, ProblemSet
from reasoning_lab.artifacts.preflight import check_prompts
from reasoning_lab.benchmark.base import Benchmark, Finish
from reasoning_lab.engine.policy import Chain, score
from reasoning_lab.engine.rng import Key
from reasoning_lab.engine.scheduler import run
from reasoning_lab.experiment import Experiment
from reasoning_lab.launch.compose import Composer
from reasoning_lab.launch.job import open_context
from reasoning_lab.launch.typed import build
from reasoning_lab.model_pair.pair import Role
from reasoning_lab.records import Completion, Grade, Problem
from reasoning_lab.steering.steering import NoSteering

try:
    from lm_eval.api.model import TemplateLM  # pyright: ignore[reportMissingImports]
    from lm_eval.api.registry import register_model  # pyright: ignore[reportMissingImports]
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window  # pyright: ignore[reportMissingImports]
except ImportError as error:
    raise ImportError("lm-evaluation-harness is not installed: run `pip install -e '.[lm-eval]'`.") from error


@dataclass(frozen=True, kw_only=True)
class Contexts(Benchmark):
    """The contexts that lm-eval asks about, as a benchmark whose answers are read as another one's; lm-eval grades."""

    version: ClassVar[int] = 1
    citation: ClassVar[str] = "the task's"
    licence: ClassVar[str] = "the task's"
    texts: tuple[tuple[str, str], ...]
    """(name, context) of each."""
    read_by: Benchmark
    """Reads the answers that vote."""

    def load(self) -> list[Problem]:
        """One problem per context."""
        return [Problem(name, text, "") for name, text in self.texts]

    def prompt(self, problem: Problem) -> str:
        """The context as it is."""
        return problem.question

    @property
    def reading(self) -> str:
        """As of the benchmark that reads."""
        return self.read_by.reading

    def answer(self, text: str) -> str | None:
        """As the benchmark reads it."""
        return self.read_by.answer(text)

    def canonical(self, answer: str) -> str:
        """As the benchmark reads it."""
        return self.read_by.canonical(answer)

    def grade(self, problem: Problem, text: str, chain: int, finish: Finish) -> Grade:
        """Not here: lm-eval's task has the gold answers."""
        return Grade(problem.id, chain, "ungradable", None, "graded by lm-eval")

    def behaviours(self, text: str) -> dict[str, int]:
        """None are known."""
        return {}

    def gold_text(self, problem: Problem) -> str:
        """Not known here."""
        raise NotImplementedError("lm-eval's task has the gold answers")


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
        self._context = open_context(self.experiment, shlex.join(["reasoning_lab.lm_eval_model", *self._overrides]))
        self._model = self._context.model(self.experiment.model_pair.source(role), self.experiment.model_pair.dtype)
        self.tokenizer = self._model.reader.tokenizer
        self._check_fits(self.experiment)

    # -- drawing -------------------------------------------------------------------------------------------------------

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        """An answer per request, in order. A context that doesn't fit is a ValueError before anything is drawn."""
        items = _numbered([f"{r.task_name}/{r.doc_id}/{r.idx}" for r in requests])
        n_chains = Counter(name for name, _ in items)
        asked: dict[tuple[str, int | None, int], dict[str, str]] = {}
        for request, (name, _) in zip(requests, items, strict=True):
            what = (str(request.task_name), request.args[1].get("max_gen_toks"), n_chains[name])
            asked.setdefault(what, {})[name] = request.args[0]
        artifacts = [self._completions(cap, contexts, n) for (_, cap, n), contexts in asked.items()]
        for artifact in artifacts:
            check_prompts(artifact, self._context.runtime.max_prompt_tokens)
        drawn: list[Completion] = [answer for artifact in artifacts for answer in self._context.get(artifact)]
        texts = {(answer.problem, answer.chain): answer.text for answer in drawn}
        return [
            _until(texts[item], request.args[1].get("until")) for item, request in zip(items, requests, strict=True)
        ]

    def _completions(self, cap: int | None, contexts: dict[str, str], n_chains: int) -> Completions:
        """The answers to `contexts`, by name, as any arm's."""
        experiment = self._experiment(cap)
        self._check_fits(experiment)
        pair, sampler, benchmark = experiment.model_pair, experiment.sampler, experiment.benchmark
        asked = Contexts(
            n_problems=None, max_new_tokens=benchmark.max_new_tokens, texts=tuple(contexts.items()), read_by=benchmark
        )
        return Completions(
            pair=pair.name,
            writer=self._role,
            caption="lm-eval",
            model=pair.source(self._role),
            dtype=pair.dtype,
            engine=experiment.engine,
            law=None,
            sampler=sampler,
            problems=ProblemSet(asked),
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
        chains = dict(self._forced([(tuple(context), tuple(ids)) for _what, context, ids in requests]))
        return [_likelihood(chains[number]) for number in range(len(requests))]

    def _forced(self, pairs: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]) -> Iterator[tuple[int, Chain]]:
        """Per pair of prompt ids and ids its number and the forced chain, with the most probable id at each."""
        tasks = ((number, _scored(*pair)) for number, pair in enumerate(pairs))
        return run(self._model.policy, tasks, self._context.shape.rows, self.max_length)

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
        return self._context.shape.max_prompt_tokens + self.experiment.sampler.max_new_tokens

    @property
    def tokenizer_name(self) -> str:
        """Where it comes from."""
        return self.experiment.model_pair.source(self._role).path

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        raise ValueError(
            f"--apply_chat_template: set model_pair.{self._role}.prompt_format=chat in overrides instead, which wraps "
            "each context as one user's turn."
        )

    def get_model_info(self) -> dict[str, Any]:
        """What lm-eval's results say of the model beside its arguments."""
        pair, sampler = self.experiment.model_pair, self.experiment.sampler
        return {"model_dtype": pair.dtype, "model_role": self._role, "sampler": repr(sampler), "note": pair.note}

    def _check_fits(self, experiment: Experiment) -> None:
        limit, most = self._context.shape.max_prompt_tokens, self._model.reader.context_length
        if limit + experiment.sampler.max_new_tokens > most:
            raise ValueError(
                f"runtime.max_prompt_tokens={limit} + max_new_tokens={experiment.sampler.max_new_tokens} exceed the "
                f"{most} positions of the {self._role} model; lower either in overrides, or the task's max_gen_toks."
            )


def _checked(experiment: Experiment) -> Experiment:
    """The experiment, where it has no more than a sampler on a model as it is."""
    if not isinstance(experiment.steering, NoSteering):
        raise ValueError("steering: a steered model's vectors belong to a run; set steering=none in overrides.")
    if (matched := experiment.sampler.matched_to) is not None:
        raise ValueError(f"tokens_matched_to={matched}: there is no other arm here; set n or budget in overrides.")
    if experiment.sampler.waits_for_cue:
        raise ValueError("sampler.cue=null: no cue is looked for here; find one by stage=cue and set it in overrides.")
    return experiment


def _numbered(names: Sequence[str]) -> list[tuple[str, int]]:
    """Each name with how often it came before: repeats are chains."""
    seen: Counter[str] = Counter()
    numbered = []
    for name in names:
        numbered.append((name, seen[name]))
        seen[name] += 1
    return numbered


def _until(text: str, until: str | Sequence[str] | None) -> str:
    """The text before the first stop text."""
    stops = [until] if isinstance(until, str) else until or []
    return text[: min((at for stop in stops if stop and (at := text.find(stop)) >= 0), default=len(text))]


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
