"""Every result, from traces to scores: pulled from the store, or made now and left there.

The rooms see no files, no Hydra and no W&B: this file reads and writes for them. A hybrid's answers need vectors, those
need the thinking model's answers: the functions call each other along the lineage.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from reasoning_lab.artifacts.draws import Draw, trace_draw
from reasoning_lab.artifacts.judgements import judged_grades, tell_cost
from reasoning_lab.artifacts.lab import Lab, encoded, model_of, read_lines, shape_of, write_lines
from reasoning_lab.artifacts.lineage import (
    activations_recipe,
    annotations_recipe,
    grades_recipe,
    labels_recipe,
    taxonomy_of,
    taxonomy_recipe,
    traces_recipe,
    vectors_recipe,
)
from reasoning_lab.artifacts.recipes import ScoresRecipe, SteeredLaw, digest
from reasoning_lab.artifacts.store import RunLog
from reasoning_lab.benchmark.base import Benchmark
from reasoning_lab.experiment import Experiment, Taxonomy
from reasoning_lab.records import Annotation, Completion, Grade, Problem, Trace
from reasoning_lab.sampler.base import Selection
from reasoning_lab.steering.gate import Never
from reasoning_lab.steering.steering import NoSteering, SteeringRule

if TYPE_CHECKING:
    from reasoning_lab.judge.base import Usage
    from reasoning_lab.model_pair.pair import LoadedModel, Role
    from reasoning_lab.steering.hybrid.policy import HybridPolicy
    from reasoning_lab.steering.hybrid.vocabulary import VocabularyMap
    from reasoning_lab.steering.steering import Steering
    from reasoning_lab.steering.vectors.base import VectorLog, VectorSet
    from reasoning_lab.steering.vectors.examples import LabelledTrace
    from reasoning_lab.taxonomy.activations import Activations
    from reasoning_lab.taxonomy.clusterings import Fit
    from reasoning_lab.taxonomy.clusters import Clusters
    from reasoning_lab.taxonomy.naming import CategorySet, LabelledSentence
    from reasoning_lab.taxonomy.scoring import TaxonomyScore


def completions(experiment: Experiment, draw: Draw, lab: Lab) -> list[Completion]:
    """The draw's answers, drawn now where they are not in the store."""

    def build(folder: Path) -> None:
        found = _selected(experiment, draw, lab) if draw.pool else _drawn(experiment, draw, lab)
        write_lines(folder / "completions.jsonl", [completion.dumps() for completion in found])

    folder = lab.store.get_or_build(draw.recipe, build)
    return [Completion.from_json(line) for line in read_lines(folder / "completions.jsonl")]


def _selected(experiment: Experiment, draw: Draw, lab: Lab) -> list[Completion]:
    """A selection's answers, read off its pool's."""
    assert draw.pool is not None
    assert isinstance(draw.sampler, Selection)
    found = []
    for pooled in completions(experiment, draw.pool, lab):
        chosen = pooled.candidates[draw.sampler.choose(pooled.candidates)]
        found.append(
            replace(
                pooled,
                text=chosen.text,
                ids=chosen.ids,
                finish=chosen.finish,
                log_p=chosen.log_p,
                negentropy=chosen.negentropy,
                inserted=chosen.inserted,
            )
        )
    return found


def _drawn(experiment: Experiment, draw: Draw, lab: Lab) -> list[Completion]:
    """Run the engine, or as much of it as the log of an earlier attempt leaves to do."""
    from reasoning_lab.artifacts.sampling import draw_completions

    sampler = _with_budget(experiment, draw, lab)
    model = _law(experiment, draw, lab)
    prompts = encoded(draw, model)
    started, done, tokens = time.monotonic(), 0, 0

    def on_done(completion: Completion) -> None:
        nonlocal done, tokens
        done, tokens = done + 1, tokens + completion.decode_tokens
        lab.on_progress(draw.label, draw.n_answers, done, tokens)

    log = RunLog(lab.store.log_path(draw.recipe))
    try:
        found, counts = draw_completions(
            model, sampler, prompts, draw.chains, experiment.seed, _vote(draw), shape_of(experiment), log,
            experiment.runtime.checkpoint_seconds, on_done,
        )  # fmt: skip
    finally:
        log.close()
    seconds = time.monotonic() - started
    lab.console.print(
        f"  {draw.label}: {len(found):,} answers, {counts.drawn:,} tokens drawn in {seconds:.1f} s "
        f"({counts.drawn / max(seconds, 1e-9):,.0f}/s, {100 * counts.occupancy:.0f} % of row-steps useful)",
        highlight=False,
        soft_wrap=True,
    )
    return found


def _with_budget(experiment: Experiment, draw: Draw, lab: Lab) -> Any:
    """The sampler, its budget resolved to the matched arm's mean decode tokens per problem."""
    if draw.matched is None:
        return draw.sampler
    spent = [completion.decode_tokens for completion in completions(experiment, draw.matched, lab)]
    return replace(draw.sampler, tokens_matched_to=None, budget=sum(spent) / len(spent))  # pyright: ignore


def _vote(draw: Draw) -> Callable[[str], str | None]:
    def vote(text: str) -> str | None:
        answer = draw.benchmark.answer(text)
        return None if answer is None else draw.benchmark.canonical(answer)

    return vote


def check_layers(experiment: Experiment) -> None:
    """A layer that a model does not have: an error before anything is drawn."""
    if not isinstance(experiment.taxonomy, Taxonomy) or experiment.model_pair.thinking is None:
        return
    own = [layer for arm in experiment.arms.values() if arm.taxonomy for layer in arm.taxonomy.layers]
    _check_layers(experiment, "thinking", "taxonomy.layers", [*experiment.taxonomy.layers, *own])
    steered = [arm.steering.inner.layer for arm in experiment.arms.values() if not isinstance(arm.steering, NoSteering)]
    _check_layers(experiment, "base", "steering.layer", steered)


def _check_layers(experiment: Experiment, role: "Role", key: str, layers: Sequence[int]) -> None:
    from transformers import AutoConfig

    from reasoning_lab.model_pair.pair import where_of

    where, options = where_of(experiment.model_pair.source(role))
    n = AutoConfig.from_pretrained(where, **options).get_text_config().num_hidden_layers
    if missing := [layer for layer in layers if not 0 <= layer < n]:
        raise ValueError(f"{key}: the {role} model has no layer {missing[0]}; its layers are 0 ... {n - 1}.")


def check_prompts(experiment: Experiment, draw: Draw) -> None:
    """A model that isn't there, a prompt that can't be read or doesn't fit: an error before anything is drawn."""
    from reasoning_lab.model_pair.pair import load_reader

    reader = load_reader(experiment.model_pair.source(draw.role))
    limit = experiment.runtime.max_prompt_tokens
    for problem in draw.problems:
        text = draw.benchmark.prompt(problem)
        reader.check_round_trip(text)
        n = len(reader.encode(text))
        if not 0 < n <= limit:
            raise ValueError(
                f"problem {problem.id}: its prompt has {n} tokens, runtime.max_prompt_tokens={limit}; "
                f"raise it to the longest prompt's length."
            )
    needed = limit + draw.sampler.max_new_tokens
    if needed > reader.context_length:
        raise ValueError(
            f"runtime.max_prompt_tokens={limit} + max_new_tokens={draw.sampler.max_new_tokens} exceed the "
            f"{reader.context_length} positions of the {draw.role} model; lower benchmark.max_new_tokens to at most "
            f"{reader.context_length - limit}."
        )


def grades(experiment: Experiment, draw: Draw, lab: Lab) -> list[Grade]:
    """Verdicts on the draw's answers."""
    benchmark = draw.benchmark
    recipe = grades_recipe(experiment, draw.recipe, benchmark, draw.problems)

    def build(folder: Path) -> None:
        problems = {problem.id: problem for problem in draw.problems}
        log = RunLog(lab.store.log_path(recipe))
        done = {(grade.problem, grade.chain): grade for grade in map(Grade.from_json, log.records)}
        answers = completions(experiment, draw, lab)
        try:
            if benchmark.asks_judge:
                done = judged_grades(experiment, draw, answers, lab) | done
            left = [answer for answer in answers if (answer.problem, answer.chain) not in done]
            for grade in _graded(benchmark, problems, left, experiment.runtime.workers):
                done[grade.problem, grade.chain] = grade
                log.append(grade.to_json())
                lab.on_progress(f"grades of {draw.label}", len(answers), len(done), 0)
        finally:
            log.close()
        write_lines(folder / "grades.jsonl", [done[answer.problem, answer.chain].dumps() for answer in answers])

    folder = lab.store.get_or_build(recipe, build)
    return [Grade.from_json(line) for line in read_lines(folder / "grades.jsonl")]


def _graded(
    benchmark: Benchmark, problems: dict[str, Problem], answers: Sequence[Completion], n_threads: int
) -> Iterator[Grade]:
    """Verdicts in the order of the answers; the work is that of other processes, and threads wait for them."""

    def grade(answer: Completion) -> Grade:
        return benchmark.grade(problems[answer.problem], answer.text, answer.chain, answer.finish)

    threads = ThreadPoolExecutor(n_threads)
    try:
        yield from threads.map(grade, answers)
    finally:  # Whoever stops listening waits for the programs at work, and for no further one.
        threads.shutdown(cancel_futures=True)


def scores(experiment: Experiment, draw: Draw, lab: Lab) -> list[tuple[float, float]]:
    """(log p per token, mean negative entropy) of the draw's answers under the base model."""
    answers = completions(experiment, draw, lab)
    if draw.role == "base" and draw.law is None:
        return [(answer.log_p / (len(answer.ids) - len(answer.inserted)), answer.negentropy) for answer in answers]
    pair = experiment.model_pair
    recipe = ScoresRecipe(draw.recipe, pair.source("base").identity(), pair.dtype)

    def build(folder: Path) -> None:
        from reasoning_lab.artifacts.sampling import Item, score_texts

        base = model_of(experiment, "base", lab)
        prompts = encoded(draw, base)
        texts = [(Item(a.problem, a.chain), prompts[a.problem], a.ids) for a in answers]
        found = score_texts(base, texts, shape_of(experiment), draw.sampler.max_new_tokens)
        write_lines(folder / "scores.jsonl", [json.dumps(found[item]) for item, _, _ in texts])

    folder = lab.store.get_or_build(recipe, build)
    return [(log_p, negentropy) for log_p, negentropy in read_lines(folder / "scores.jsonl")]


# --- from the thinking model's answers to a steered base model ------------------------------------------------------


SHARD_SENTENCES = 50_000
"""Sentence vectors per file."""


def traces(experiment: Experiment, lab: Lab) -> list[Trace]:
    """The thinking model's answers to the taxonomy's problems, graded and cut into sentences."""
    taxonomy, draw = taxonomy_of(experiment), trace_draw(experiment)

    def build(folder: Path) -> None:
        from reasoning_lab.model_pair.pair import load_reader
        from reasoning_lab.taxonomy.traces import traces_of as cut

        reader = load_reader(experiment.model_pair.source("thinking"))
        found = cut(
            completions(experiment, draw, lab), grades(experiment, draw, lab), encoded(draw, reader), reader.decode,
            taxonomy.think_open, taxonomy.think_close,
        )  # fmt: skip
        write_lines(folder / "traces.jsonl", [trace.dumps() for trace in found])

    recipe = traces_recipe(experiment)
    folder = lab.store.get_or_build(recipe, build)
    return lab.once(
        f"traces {recipe.key}", lambda: [Trace.from_json(line) for line in read_lines(folder / "traces.jsonl")]
    )


def activations(experiment: Experiment, lab: Lab, layer: int) -> "Activations":
    """Sentence vectors of one layer; all layers are read when the first is asked for."""
    from safetensors import safe_open

    from reasoning_lab.engine.tensors import write_safetensors
    from reasoning_lab.taxonomy.activations import collect, merge, shard_from

    recipe = activations_recipe(experiment)

    def build(folder: Path) -> None:
        policy: Any = model_of(experiment, "thinking", lab).policy
        found = traces(experiment, lab)
        heard = lab.heard("activations", found)
        shards = collect(policy, heard, recipe.layers, recipe.pooling, experiment.runtime.rows, SHARD_SENTENCES)  # pyright: ignore[reportArgumentType]
        for number, shard in enumerate(shards):
            write_safetensors(folder / f"shard-{number:05d}.safetensors", shard.tensors())

    folder = lab.store.get_or_build(recipe, build)
    shards = []
    for file in sorted(folder.glob("shard-*.safetensors")):
        with safe_open(file, framework="pt") as opened:
            wanted = (f"layer{layer}", f"sum{layer}", "index", "n_responses")
            shards.append(shard_from({name: opened.get_tensor(name) for name in wanted}))
    return merge(shards)


def taxonomy(experiment: Experiment, lab: Lab) -> "Clusters":
    """The clusters of the thinking model's sentences."""
    from safetensors.torch import load_file

    from reasoning_lab.taxonomy.clusters import clusters_from

    recipe = taxonomy_recipe(experiment)

    def build(folder: Path) -> None:
        chosen = taxonomy_of(experiment)
        data, rows = _clustered(experiment, lab)
        fit = chosen.clustering.fit(
            data.layers[chosen.layer][rows], data.means[chosen.layer], chosen.n_clusters, experiment.seed
        )
        write_fit(fit, folder, source(experiment))

    folder = lab.store.get_or_build(recipe, build)
    return clusters_from(load_file(folder / "clusters.safetensors"), _read_json(folder / "clusters.json")["metadata"])


def taxonomy_bank(experiments: Sequence[Experiment], lab: Lab) -> None:
    """Fit taxonomies that differ in their number of clusters alone together, as one bank; each is its own artifact."""
    first = experiments[0]
    chosen = taxonomy_of(first)
    missing = {taxonomy_of(e).n_clusters: e for e in experiments if lab.store.get(taxonomy_recipe(e)) is None}
    if not missing:
        return
    data, rows = _clustered(first, lab)
    x, mean = data.layers[chosen.layer][rows], data.means[chosen.layer]
    fits = chosen.clustering.fit_bank(x, mean, sorted(missing), first.seed)
    of = source(first)
    for n, fit in fits.items():
        lab.store.get_or_build(taxonomy_recipe(missing[n]), lambda folder, fit=fit: write_fit(fit, folder, of))


def source(experiment: Experiment) -> str:
    """Model and layer of a taxonomy's activations, as its clusters carry them."""
    model = digest(experiment.model_pair.source("thinking").identity())
    return f"layer {taxonomy_of(experiment).layer} of model {model[:12]}"


def write_fit(fit: "Fit", folder: Path, of: str) -> None:
    """Clusters, `of` which activations, and how their fitting went."""
    from reasoning_lab.engine.tensors import write_safetensors

    clusters = fit.clusters.of_source(of)
    write_safetensors(folder / "clusters.safetensors", clusters.tensors())
    told = {
        "metadata": clusters.metadata(), "n_dead": fit.n_dead, "n_silent": fit.n_silent, "losses": fit.losses,
        "validation_losses": fit.validation_losses, "best_epoch": fit.best_epoch, "validation": fit.validation,
    }  # fmt: skip
    (folder / "clusters.json").write_text(json.dumps(told, indent=1))


def fit_facts(experiment: Experiment, lab: Lab) -> dict[str, Any]:
    """How the taxonomy's fitting went."""
    taxonomy(experiment, lab)
    return _read_json(lab.store.folder(taxonomy_recipe(experiment)) / "clusters.json")


def _clustered(experiment: Experiment, lab: Lab) -> tuple["Activations", list[int]]:
    """The layer's vectors, and the rows of the sentences that are long enough."""
    from reasoning_lab.taxonomy.spans import n_words

    chosen = taxonomy_of(experiment)
    data, written = activations(experiment, lab, chosen.layer), traces(experiment, lab)
    spans = [(written[trace].text, written[trace].spans[span]) for trace, span in data.index.tolist()]
    rows = [row for row, (text, span) in enumerate(spans) if n_words(text[span.start : span.stop]) >= chosen.min_words]
    if not rows:
        raise ValueError(f"taxonomy.min_words={chosen.min_words}: no sentence is that long; lower it.")
    return data, rows


def labelled(experiment: Experiment, lab: Lab) -> "list[LabelledSentence]":
    """The clustered sentences with their labels and scores; the trace's id is its number."""
    return lab.once(f"sentences {taxonomy_recipe(experiment).key}", lambda: _labelled(experiment, lab))


def _labelled(experiment: Experiment, lab: Lab) -> "list[LabelledSentence]":
    from reasoning_lab.taxonomy.naming import LabelledSentence

    chosen, clusters, written = taxonomy_of(experiment), taxonomy(experiment, lab), traces(experiment, lab)
    data, rows = _clustered(experiment, lab)
    scores = clusters.scores(data.layers[chosen.layer][rows])
    best = scores.max(-1)
    found = []
    for row, label, score in zip(rows, best.indices.tolist(), best.values.tolist(), strict=True):
        trace, span = data.index[row].tolist()
        text = written[trace].text[written[trace].spans[span].start : written[trace].spans[span].stop].strip()
        found.append(LabelledSentence(text, label, score, str(trace)))
    return found


def names(experiment: Experiment, lab: Lab) -> "Named":
    """The categories' titles and the judge's scores."""
    from reasoning_lab.taxonomy.naming import CategorySet, name_categories
    from reasoning_lab.taxonomy.scoring import Decision, RepetitionScore, TaxonomyScore, estimate, score_taxonomy

    recipe, chosen = labels_recipe(experiment), taxonomy_of(experiment)

    def build(folder: Path) -> None:
        from reasoning_lab.model_pair.pair import resolve_device

        sentences = labelled(experiment, lab)
        texts = {str(number): trace.text for number, trace in enumerate(traces(experiment, lab))}
        judge = experiment.judge.open(lab.store.root / "replies", resolve_device(experiment.runtime.device))
        if judge.dry() is not judge:  # one that sends nothing costs nothing
            expected = estimate(
                judge, sentences, texts, chosen.n_clusters, chosen.naming, chosen.scoring, experiment.seed
            )
            tell_cost(judge.name, expected, lab)
        sets = name_categories(judge, sentences, texts, chosen.n_clusters, chosen.naming, experiment.seed)
        score = score_taxonomy(judge, sets, sentences, chosen.scoring, experiment.seed)
        _require_answers(judge.usage())
        write_lines(folder / "titles.jsonl", [each.dumps() for each in sets])
        write_lines(folder / "scores.jsonl", [each.dumps() for each in score.repetitions])
        write_lines(folder / "decisions.jsonl", [json.dumps(each) for each in score.decisions])
        (folder / "usage.json").write_text(judge.usage().dumps())

    folder = lab.store.get_or_build(recipe, build)
    sets = [CategorySet.from_json(line) for line in read_lines(folder / "titles.jsonl")]
    repetitions = tuple(RepetitionScore.from_json(line) for line in read_lines(folder / "scores.jsonl"))
    decisions = tuple(tuple(Decision(*each) for each in line) for line in read_lines(folder / "decisions.jsonl"))
    return Named(sets, TaxonomyScore(repetitions, decisions))


def _require_answers(usage: "Usage") -> None:
    """ValueError where questions were not answered: scores of the rest would not be the taxonomy's."""
    if usage.skipped or usage.failed:
        raise ValueError(
            f"judge: {usage.skipped} of {usage.asked} questions were not sent (the cap was reached) and {usage.failed} "
            "got no reply; what was answered is cached: raise the judge's cap, or see that it is up, and run the same "
            "command again."
        )


class Named(NamedTuple):
    """What a judge said about a taxonomy."""

    sets: "list[CategorySet]"
    score: "TaxonomyScore"


def vectors(experiment: Experiment, rule: SteeringRule, lab: Lab) -> "tuple[VectorSet, VectorLog]":
    """The steering vectors behind a rule, and how their training went."""
    from safetensors import safe_open

    from reasoning_lab.engine.tensors import write_safetensors
    from reasoning_lab.steering.vectors.base import VectorLog, vectors_from

    inner = rule.inner
    recipe = vectors_recipe(experiment, rule)

    def build(folder: Path) -> None:
        from reasoning_lab.model_pair.residual import Decoder

        policy: Any = model_of(experiment, "base", lab).policy
        fit = inner.vectors.fit(
            Decoder(policy), _examples(experiment, inner, lab), taxonomy_of(experiment).n_clusters, inner.layer,
            experiment.seed, lambda phase, done, total: lab.on_progress(f"vectors: {phase}", total, done, 0),
        )  # fmt: skip
        found = fit.vector_set.of_base(base_key(experiment))
        write_safetensors(folder / "vectors.safetensors", found.tensors(), found.metadata())
        (folder / "log.json").write_text(fit.log.dumps())

    folder = lab.store.get_or_build(recipe, build)
    with safe_open(folder / "vectors.safetensors", framework="pt") as opened:
        found = vectors_from({name: opened.get_tensor(name) for name in opened.keys()}, opened.metadata())  # noqa: SIM118
    return found, VectorLog.from_json(_read_json(folder / "log.json"))


def base_key(experiment: Experiment) -> str:
    """Identity of the base model, as vectors carry it."""
    return digest(experiment.model_pair.source("base").identity())


def _examples(experiment: Experiment, steering: "Steering", lab: Lab) -> "list[LabelledTrace]":
    """The traces as the base model reads them, each sentence with its category."""
    from reasoning_lab.steering.vectors.examples import LabelledTrace

    chosen, clusters = taxonomy_of(experiment), taxonomy(experiment, lab)
    data = activations(experiment, lab, chosen.layer)
    best = clusters.scores(data.layers[chosen.layer], steering.normalise).max(-1)
    of_trace: dict[int, list[tuple[int, float]]] = {}
    for (trace, _), label, score in zip(data.index.tolist(), best.indices.tolist(), best.values.tolist(), strict=True):
        of_trace.setdefault(trace, []).append((label, score))
    base = model_of(experiment, "base", lab)
    prompts, ids_of = encoded(trace_draw(experiment), base), vocabulary(experiment, lab).in_base
    found = []
    for number, trace in enumerate(traces(experiment, lab)):
        if not trace.spans:
            continue
        marks = of_trace[number]
        found.append(
            LabelledTrace(
                prompts[trace.problem], ids_of(trace.ids), trace.spans, tuple(label for label, _ in marks),
                tuple(score for _, score in marks), trace.verdict,
                trace.spans[-1].last == len(trace.ids),  # A text that ended by itself has its stop id behind its spans.
                _token_labels(experiment, steering, trace, clusters, lab),
            )
        )  # fmt: skip
    return found


def _token_labels(
    experiment: Experiment, steering: "Steering", trace: Trace, clusters: "Clusters", lab: Lab
) -> tuple[int, ...]:
    """Category at the position that predicts each token, where categories are picked token by token; else nothing."""
    if not steering.vectors.reads_tokens or steering.category.hold != "token":
        return ()
    import torch

    from reasoning_lab.model_pair.residual import Decoder

    policy: Any = model_of(experiment, "thinking", lab).policy
    layer, ids = taxonomy_of(experiment).layer, torch.tensor([trace.prompt + trace.ids[:-1]], device=policy.device)
    with torch.inference_mode():
        stream = Decoder(policy).read(ids, (layer,))[layer][0, len(trace.prompt) - 1 :]
    return tuple(clusters.labels(stream.float().cpu(), steering.normalise).tolist())


def vocabulary(experiment: Experiment, lab: Lab, how: Literal["ids", "strings"] = "ids") -> "VocabularyMap":
    """How the two models read each other's tokens."""
    from reasoning_lab.steering.hybrid.vocabulary import map_vocabularies, match_strings

    base, thinking = model_of(experiment, "base", lab), model_of(experiment, "thinking", lab)
    sizes = base.policy.vocab_size, thinking.policy.vocab_size
    match = map_vocabularies if how == "ids" else match_strings
    return match(base.reader.tokenizer, thinking.reader.tokenizer, *sizes)


def hybrid(experiment: Experiment, rule: SteeringRule, draw: Draw, lab: Lab) -> "HybridPolicy":
    """The base model steered by a rule, for the draw's prompts."""
    from reasoning_lab.steering.hybrid.policy import HybridPolicy
    from reasoning_lab.taxonomy.spans import ending_ids

    base, thinking = model_of(experiment, "base", lab), model_of(experiment, "thinking", lab)
    ours, theirs = encoded(draw, base), encoded(draw, thinking)
    own: Any = base.policy
    other: Any = thinking.policy
    return HybridPolicy(
        own,
        other,
        taxonomy(experiment, lab),
        taxonomy_of(experiment).layer,
        vectors(experiment, rule, lab)[0],
        rule,
        {ours[problem]: theirs[problem] for problem in ours},
        ending_ids(base.reader),
        vocabulary(experiment, lab, rule.inner.vocabulary),
        base_key(experiment),
        source(experiment),
    )


def _rule(experiment: Experiment, draw: Draw, lab: Lab) -> SteeringRule:
    """The draw's steering, the rate of a random gate measured where it is matched."""
    rule: Any = draw.steering
    if draw.rate_of is None:
        return rule
    fractions = [each.steered_fraction for each in annotations(experiment, draw.rate_of, lab)]
    return rule.matched(sum(fractions) / len(fractions))


def _law(experiment: Experiment, draw: Draw, lab: Lab) -> "LoadedModel":
    """What the draw's answers are drawn from."""
    from reasoning_lab.model_pair.pair import LoadedModel

    model = model_of(experiment, draw.role, lab)
    if draw.law is None:
        return model
    own = replace(experiment, taxonomy=draw.taxonomy)
    return LoadedModel(hybrid(own, _rule(experiment, draw, lab), draw, lab), model.reader)


def annotations(experiment: Experiment, draw: Draw, lab: Lab, as_drawn: bool = True) -> list[Annotation]:
    """The draw's answers token by token: category, gate, coefficient, both models' choices.

    `as_drawn` shows what steered them; without, or where nothing did, they are seen through the experiment's own
    steering with a gate that never fires.
    """
    if as_drawn and draw.law is not None:
        seen, rule, law = replace(experiment, taxonomy=draw.taxonomy), _rule(experiment, draw, lab), draw.law
    else:
        seen, rule = experiment, replace(experiment.steering.inner, gate=Never())
        law = SteeredLaw(rule, vectors_recipe(experiment, rule))
    recipe = annotations_recipe(experiment, draw.recipe, law)

    def build(folder: Path) -> None:
        from reasoning_lab.steering.hybrid.annotate import Unannotated, annotate

        ids_of = vocabulary(experiment, lab).in_base if draw.role == "thinking" else tuple
        prompts = encoded(draw, model_of(experiment, "base", lab))
        items = [
            Unannotated(a.problem, a.chain, prompts[a.problem], ids_of(a.ids))
            for a in completions(experiment, draw, lab)
        ]
        shape = shape_of(experiment)
        policy = hybrid(seen, rule, draw, lab)
        found = annotate(policy, items, shape.rows, shape.max_prompt_tokens + draw.sampler.max_new_tokens)
        write_lines(folder / "annotations.jsonl", [each.dumps() for each in found])

    folder = lab.store.get_or_build(recipe, build)
    return [Annotation.from_json(line) for line in read_lines(folder / "annotations.jsonl")]


def _read_json(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))
