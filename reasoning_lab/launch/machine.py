"""What this machine must have for an experiment, looked up with its composition: no weights are read, nothing is
downloaded, and no folder or dashboard run exists yet."""

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from reasoning_lab.benchmark.alpaca_eval import AlpacaEval
from reasoning_lab.benchmark.base import Benchmark, problems_of
from reasoning_lab.checks import require
from reasoning_lab.cue.search import CueSearch
from reasoning_lab.experiment import Experiment, Taxonomy
from reasoning_lab.judge.preference import PreferenceOption
from reasoning_lab.launch.errors import ConfigError
from reasoning_lab.model_pair.loaded import resolve_device
from reasoning_lab.model_pair.pair import ModelSource, Role
from reasoning_lab.report.export.alpaca_eval import TABLE
from reasoning_lab.steering.export import require_gguf
from reasoning_lab.steering.steering import NoSteering

OF_CATEGORIES = ("traces", "activations", "taxonomy", "vectors", "export")
"""Stages that make, or are made of, categories of reasoning steps."""
OF_ARMS = ("completions", "grades", "preferences", "report")
JUDGED = ("taxonomy", "export", "grades", "preferences", "report")
"""Stages that open the judge where there is something to judge."""
GRADED = ("grades", "preferences", "report")
METRICS = {
    "traces": r"n_traces|n_sentences|accuracy/traces",
    "activations": r"n_traces|n_sentences|accuracy/traces",
    "taxonomy": r"score/(consistency|completeness|independence|final)|nmi|ari|purity|judge_kappa|n_dead|fvu",
    "vectors": r"norm/\d+",
    "export": r"files",
    "cue": r"entropy/(cue|without)|tokens",
    "completions": r"(?!)",
    "check": r"claims",
    "thinking": r"reward/(first|last)|cold_start",
    "embedded_pair": r"seconds/.+",
}
"""What a stage's metrics are called, as far as it is known beforehand; those of arms begin or end with an arm."""
OF_REPORTS = re.compile(
    r"n_problems|decode_tokens|cost_over_base|flops_over_base|acceptance|move_rate|grpo_epochs_\d+"
    r"|(accuracy|gap_recovered|steered_fraction|difference_to_(base|reference|rival))(_low|_high|_p)?"
)
_DEVICE = re.compile(r"auto|cpu|cuda(:\d+)?")
_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")


def check_machine(experiment: Experiment, launcher: Mapping[str, Any] | None = None, is_dry: bool = False) -> None:
    """ConfigError for the first thing that the experiment's stage needs and that is not here.

    `launcher` is the node `hydra.launcher` of a sweep. What only the machine that works need have (a CUDA device, a
    sandbox) is not asked of one that submits to a cluster, or that only looks at what would be done.
    """
    is_remote = is_dry or str((launcher or {}).get("_target_", "")).endswith(".SlurmLauncher")
    try:
        check_stage(experiment)
        check_device("runtime.device", experiment.runtime.device, is_remote)
        for device in () if experiment.runtime.devices == "auto" else experiment.runtime.devices:
            check_device("runtime.devices", device, is_remote)
        check_extras(experiment)
        if experiment.stage in OF_ARMS:
            experiment.engine.check()
        for key, source in models_of(experiment):
            check_model(key, source, experiment.engine.holds_weights or experiment.stage not in OF_ARMS)
        check_layers(experiment)
        for key, benchmark in benchmarks_of(experiment):
            check_problems_there(key, benchmark)
        if experiment.stage in GRADED and not is_remote:
            experiment.benchmark.check_grading()
        if experiment.stage in JUDGED:
            experiment.judge.check()
    except ValueError as error:
        raise ConfigError(" ".join(str(error).split())) from error


# --- choices that belong together -------------------------------------------------------------------------------------


def check_stage(experiment: Experiment) -> None:
    """ValueError where the stage is made of something that was not chosen, or measures nothing of that name."""
    stage = experiment.stage
    if stage in OF_CATEGORIES and not isinstance(experiment.taxonomy, Taxonomy):
        raise ValueError(f"taxonomy=none: stage={stage} needs categories of reasoning steps; choose taxonomy=embedded.")
    if stage in ("vectors", "export") and isinstance(experiment.steering, NoSteering):
        raise ValueError(f"steering=none: stage={stage} needs vectors; choose steering=embedded or venhoff2025.")
    if stage == "cue" and not isinstance(experiment.cue, CueSearch):
        raise ValueError("cue=none: no cue is looked for; choose cue=arithmetic, gsm8k or hendrycks_math.")
    if stage == "preferences":
        if not isinstance(experiment.benchmark, AlpacaEval):
            name = type(experiment.benchmark).__name__
            raise ValueError(f"benchmark={name}: its answers are graded by rule; stage=preferences is for alpaca_eval.")
        if not isinstance(experiment.judge, PreferenceOption):
            judge = type(experiment.judge).__name__
            raise ValueError(f"judge={judge}: weighs no preferences; choose judge=alpaca_eval.")
    if experiment.metric is not None and not may_measure(experiment, experiment.metric):
        raise ValueError(
            f"metric={experiment.metric}: stage={stage} measures nothing of that name; set metric to a name among a "
            "finished run's metrics in row.json, or to null."
        )


def may_measure(experiment: Experiment, metric: str) -> bool:
    """Whether the stage may have a metric of this name; of arms, whether there is such an arm."""
    known = METRICS.get(experiment.stage)
    if known is not None:
        return re.fullmatch(known, metric) is not None
    first, _, rest = metric.partition("/")
    if not rest:
        return OF_REPORTS.fullmatch(metric) is not None and experiment.stage == "report"
    return first in experiment.arms or re.split("[@ ]", rest)[0] in experiment.arms


# --- device, packages -------------------------------------------------------------------------------------------------


def check_device(key: str, device: str, is_remote: bool) -> None:
    """ValueError for a device of no known name, or one that this machine lacks and needs."""
    require(_DEVICE.fullmatch(device) is not None, key, device, "auto, cpu, cuda or cuda:N", "set it to one")
    if is_remote or not device.startswith("cuda"):
        return
    resolve_device(device)
    import torch

    number, most = int(device.partition(":")[2] or 0), torch.cuda.device_count()
    require(number < most, key, device, f"one of cuda:0 ... cuda:{most - 1}", "take one that is here")


def check_extras(experiment: Experiment) -> None:
    """ValueError for a package of an extra that the stage imports late."""
    needed: dict[str, str] = {}
    if experiment.stage == "export":
        require_gguf()
    if experiment.stage == "preferences":
        needed["alpaca_eval"] = "alpaca"
    if experiment.stage in ("thinking", "embedded_pair"):
        needed |= {"trl": "train", "accelerate": "train"}
    if any(source.gguf_file is not None for _, source in models_of(experiment)):
        needed["gguf"] = "small"
    for package, extra in needed.items():
        if find_spec(package) is None:
            raise ValueError(
                f"stage={experiment.stage} needs the package {package} of the extra `{extra}`: run "
                f"`pip install -e '.[{extra}]'`."
            )


# --- models -----------------------------------------------------------------------------------------------------------


def models_of(experiment: Experiment) -> list[tuple[str, ModelSource]]:
    """The models that the stage loads, by config key."""
    roles: set[Role] = set()
    if experiment.stage in OF_ARMS:
        roles |= {arm.role for arm in experiment.arms.values()}
        is_steered = any(not isinstance(arm.steering, NoSteering) for arm in experiment.arms.values())
        roles.update(("base", "thinking") if is_steered else ())
    if experiment.stage in OF_CATEGORIES:
        roles.update(("base", "thinking") if experiment.stage in ("vectors", "export") else ("thinking",))
    if experiment.stage in ("cue", "thinking"):
        roles.add("base")
    found = [(f"model_pair.{role}", getattr(experiment.model_pair, role)) for role in sorted(roles)]
    judge = getattr(experiment.judge, "model", None)
    if experiment.stage in JUDGED and isinstance(judge, ModelSource):
        found.append(("judge.model", judge))
    return [(key, source) for key, source in found if source is not None]


def check_model(key: str, source: ModelSource, needs_weights: bool = True) -> None:
    """ValueError for a folder without a model, or a hub id that can't be had here; of a model whose weights are
    elsewhere the tokenizer and the config are looked for."""
    folder = source.folder()
    if folder is None:
        bound = "a hub id such as Qwen/Qwen2.5-7B, or a local folder"
        require(_HUB_ID.fullmatch(source.path) is not None, f"{key}.path", source.path, bound, "./ begins a folder")
        if is_offline() and not is_cached(source.path, "models"):
            raise ValueError(
                f"{key}.path={source.path}: is not in the cache of the Hugging Face hub, and HF_HUB_OFFLINE is set; "
                "download it first, or set the path to a local folder."
            )
        return
    if not folder.is_dir():
        raise ValueError(f"{key}.path={source.path}: no such folder; set it to a hub id or a local folder.")
    if source.gguf_file is not None:
        found = (folder / source.gguf_file).is_file()
        require(found, f"{key}.gguf_file", source.gguf_file, f"a file of {folder}", "set it to the file's name")
        return
    if not (folder / "config.json").is_file():
        raise ValueError(
            f"{key}.path={source.path}: has no config.json; set it to a folder that save_pretrained wrote."
        )
    if needs_weights and not any(folder.glob("*.safetensors")) and not any(folder.glob("*.bin")):
        raise ValueError(f"{key}.path={source.path}: has no weights (*.safetensors, *.bin); copy them there.")


def check_layers(experiment: Experiment) -> None:
    """ValueError for a layer that a model on this machine does not have; hub models that are not here yet are looked at
    by the run."""
    if experiment.stage not in (*OF_CATEGORIES, *OF_ARMS):
        return
    pair = experiment.model_pair
    taxonomies = {f"arms.{name}.taxonomy": arm.taxonomy for name, arm in experiment.arms.items() if arm.taxonomy}
    if isinstance(experiment.taxonomy, Taxonomy):
        taxonomies["taxonomy"] = experiment.taxonomy
    for key, taxonomy in taxonomies.items():
        _check_layers(f"{key}.layers", "thinking", pair.thinking, taxonomy.layers)
    layers = {f"arms.{name}.steering": arm.steering for name, arm in experiment.arms.items()}
    for key, steering in {"steering": experiment.steering, **layers}.items():
        if not isinstance(steering, NoSteering):
            _check_layers(f"{key}.layer", "base", pair.base, (steering.inner.layer,))


def _check_layers(key: str, role: Role, source: ModelSource | None, layers: tuple[int, ...]) -> None:
    n = n_layers(source) if source is not None else None
    if n is not None and (missing := [layer for layer in layers if not 0 <= layer < n]):
        raise ValueError(f"{key}={missing[0]}: the {role} model has no such layer; its layers are 0 ... {n - 1}.")


def n_layers(source: ModelSource) -> int | None:
    """Decoder layers, read off config.json of a folder or of the hub's cache; None where neither tells."""
    folder = source.folder()
    files = [folder / "config.json"] if folder else list(_cached(source.path, "models").glob("snapshots/*/config.json"))
    for file in files:
        try:
            config = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        text = config.get("text_config") or config
        n = text.get("num_hidden_layers", text.get("n_layer"))
        if isinstance(n, int):
            return n
    return None


# --- data -------------------------------------------------------------------------------------------------------------


def benchmarks_of(experiment: Experiment) -> Iterator[tuple[str, Benchmark]]:
    """The sets of problems that the stage reads, by config key."""
    if experiment.stage in (*OF_ARMS,):
        yield "benchmark", experiment.benchmark
    is_training = experiment.stage == "thinking"
    for key, benchmark in experiment.fitted_on().items():
        steers = any(not isinstance(arm.steering, NoSteering) for arm in experiment.arms.values())
        if not key.startswith("taxonomy") or experiment.stage in OF_CATEGORIES or (steers and not is_training):
            yield key, benchmark


def check_problems_there(key: str, benchmark: Benchmark) -> None:
    """ValueError for a local file that is not there or has too few problems, or a data set that can't be had here."""
    for field in fields(benchmark):
        value = getattr(benchmark, field.name)
        is_place = field.name == "path" or field.name.endswith("_path") or field.name == "lc_tables"
        if is_place and isinstance(value, str) and not Path(value).expanduser().exists():
            what = "folder" if field.name == "lc_tables" else "file"
            raise ValueError(f"{key}.{field.name}={value}: no such {what}; set it to one, or to null for the hub.")
    tables = getattr(benchmark, "lc_tables", None)
    if tables is not None and not (Path(tables).expanduser() / TABLE).is_file():
        raise ValueError(f"{key}.lc_tables={tables}: has no {TABLE}; set it to the folder that holds it.")
    if benchmark.is_local:
        problems_of(benchmark)
        return
    hub_id = getattr(benchmark, "hub_id", None)
    if hub_id is not None and is_offline() and not is_cached(hub_id, "datasets"):
        raise ValueError(
            f"{key}.hub_id={hub_id}: is not in the cache of the Hugging Face hub, and HF_HUB_OFFLINE is set; download "
            f"it first, or set {key}.path to a local file."
        )


def is_offline() -> bool:
    """Whether the environment forbids the Hugging Face hub."""
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
    return any(os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE") for name in names)


def is_cached(hub_id: str, kind: str) -> bool:
    """Whether this machine has something of a model or a data set of the hub."""
    if any(_cached(hub_id, kind).glob("snapshots/*")):
        return True
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    prepared = Path(os.environ.get("HF_DATASETS_CACHE", home / "datasets")).expanduser()
    return kind == "datasets" and (prepared / hub_id.replace("/", "___")).is_dir()


def _cached(hub_id: str, kind: str) -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / f"{kind}--{hub_id.replace('/', '--')}"


# --- a cluster --------------------------------------------------------------------------------------------------------
