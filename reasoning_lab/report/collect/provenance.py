"""Where a page's numbers come from, read off the manifests of the artifacts that they are made of."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reasoning_lab.artifacts.arms import Arms, Categories
from reasoning_lab.artifacts.base import Artifact, Context
from reasoning_lab.artifacts.completions import Completions
from reasoning_lab.benchmark.base import Benchmark, RowBenchmark
from reasoning_lab.model_pair.identity import hub_commit
from reasoning_lab.model_pair.pair import ModelPair, ModelSource
from reasoning_lab.report.data import Origin, Provenance
from reasoning_lab.report.words import counted

FILE = "provenance.json"
"""The origins behind a page, beside it, for the sweep's own page."""


def of_report(arms: Arms, shown: Iterable[Artifact[Any]], context: Context) -> Provenance:
    """Of an experiment's arms: the artifacts that are `shown`, and all that they are made of."""
    tables = ("table.csv", "table.md", *(("hybrid.csv", "hybrid.md") if arms.is_hybrid else ()))
    answers = tuple((f"answers of {row.title}", f"answers/{row.name}.jsonl") for row in arms.rows.values())
    return Provenance(
        origins=tuple(_origins(shown, context)),
        sources=(*_models(arms.pair), *_data(arms.problems.benchmark, "benchmark")),
        page=_page(context),
        files=(*((name, name) for name in tables), *answers),
    )


def of_taxonomy(categories: Categories, context: Context) -> Provenance:
    """Of a taxonomy: traces, activations, clusters, names."""
    made = [categories.clusters, *([categories.naming] if categories.naming else [])]
    thinking = categories.clusters.thinking
    return Provenance(
        origins=tuple(_origins(made, context)),
        sources=(f"thinking {_source(thinking)}", *_data(categories.taxonomy.benchmark, "problems")),
        page=_page(context),
        files=(("categories.csv", "categories.csv"), ("taxonomy.md", "taxonomy.md")),
    )


def of_sweep(folder: Path) -> Provenance:
    """Of the cells in a sweep's folder that left a page: all their origins, each once."""
    found: dict[str, Origin] = {}
    cells = sorted((path for path in folder.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))
    for cell in cells:
        file = cell / "report" / FILE
        for each in json.loads(file.read_text()) if file.is_file() else []:
            origin = Origin.from_json(each)
            found.setdefault(origin.key, origin)
    return Provenance(tuple(found.values()), files=(("sweep.csv", "sweep.csv"), ("sweep.md", "sweep.md")))


def write_provenance(provenance: Provenance, folder: Path) -> None:
    """The origins as a file beside the page."""
    text = json.dumps([origin.to_json() for origin in provenance.origins], indent=1, sort_keys=True)
    (folder / FILE).write_text(text, encoding="utf-8")


# --- artifacts ------------------------------------------------------------------------------------------------------


def _origins(artifacts: Iterable[Artifact[Any]], context: Context) -> list[Origin]:
    """Of the artifacts that are there and of all that they are made of, upstream first, each once."""
    ordered: dict[str, Origin] = {}

    def visit(artifact: Artifact[Any]) -> None:
        if artifact.key in ordered or context.store.find(artifact) is None:
            return
        for each in artifact.upstream():
            visit(each)
        ordered[artifact.key] = _origin(artifact, context.store.manifest(artifact))

    for artifact in artifacts:
        visit(artifact)
    return list(ordered.values())


def _origin(artifact: Artifact[Any], manifest: Mapping[str, Any]) -> Origin:
    built_by = manifest.get("runtime", {})
    engine = _engine(artifact)
    earlier = [_settings(each, engine) for each in manifest.get("earlier_attempts", ())]
    now = _settings(built_by, engine)
    return Origin(
        name=artifact.caption if isinstance(artifact, Completions) else artifact.kind,
        key=artifact.key,
        built=manifest.get("built", ""),
        command=built_by.get("command", ""),
        settings=now,
        earlier=tuple(dict.fromkeys(each for each in earlier if each != now)),
    )


def _settings(runtime: Mapping[str, Any], engine: tuple[str, bool]) -> tuple[str, ...]:
    """Code, machine and shape in words, what was not recorded left out."""
    return tuple(filter(None, (commit_words(runtime.get("git")), _versions(runtime), _shape(runtime, engine))))


def commit_words(git: Mapping[str, Any] | None) -> str:
    """'commit 0123456789ab, with local changes'."""
    if not git:
        return ""
    return f"commit {git['commit'][:12]}" + (", with local changes" if git["dirty"] else "")


def _versions(runtime: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {version}" for name, version in runtime.get("versions", {}).items())


def _engine(artifact: Artifact[Any]) -> tuple[str, bool]:
    """What computed an artifact's numbers, and whether it did so on this machine."""
    if isinstance(artifact, Completions):
        return artifact.engine.name, artifact.engine.holds_weights
    return "transformers", True


def _shape(runtime: Mapping[str, Any], engine: tuple[str, bool]) -> str:
    """Engine, device and physical shape; a server's device is not ours."""
    if "device" not in runtime:
        return ""
    threads, rows = (counted(runtime[each], each[:-1]) for each in ("threads", "rows"))
    prompts = f"prompts of at most {runtime['max_prompt_tokens']} tokens"
    name, is_here = engine
    where = f" on {runtime['device']}, {threads}" if is_here else ""
    return f"engine {name}{where}, {rows}, {prompts}"


# --- models and data ------------------------------------------------------------------------------------------------


def _models(pair: ModelPair) -> list[str]:
    given = {"base": pair.base, "thinking": pair.thinking, "grpo": pair.grpo}
    return [f"{role} {_source(source)}" for role, source in given.items() if source is not None]


def _source(source: ModelSource) -> str:
    """'org/name at commit ...', 'folder, content 0123...'."""
    if source.folder() is None:
        return f"{source.path} at {_revision(source.commit)}"
    return f"{source.path}, content {str(source.identity()['content'])[:12]}"


def _revision(revision: str | None) -> str:
    is_commit = revision is not None and len(revision) == 40
    return f"commit {revision}" if is_commit else f"{revision or 'main'} (no commit known)"


def _data(benchmark: Benchmark, what: str) -> list[str]:
    if not isinstance(benchmark, RowBenchmark):
        return []
    if benchmark.path is not None:
        return [f"{what} {benchmark.path}"]
    if benchmark.hub_id is None:
        return []
    commit = hub_commit(benchmark.hub_id, benchmark.revision, "dataset") or benchmark.revision
    return [f"{what} {benchmark.hub_id} at {_revision(commit)}"]


def _page(context: Context) -> str:
    """When, by what code and command the page was written; empty where nothing was typed."""
    if "command" not in context.provenance:
        return ""
    words = commit_words(context.provenance.get("git"))
    date = datetime.now(UTC).isoformat(sep=" ", timespec="minutes").removesuffix("+00:00")
    return f"Page written {date} UTC{' by ' + words if words else ''}: {context.provenance['command']}"
