"""How long builds take: as earlier ones of the same kind, models, device and rows did, by their manifests."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple

from reasoning_lab.artifacts.annotations import Annotations
from reasoning_lab.artifacts.base import Artifact
from reasoning_lab.artifacts.completions import Completions
from reasoning_lab.artifacts.files import read_lines
from reasoning_lab.artifacts.grades import Grades
from reasoning_lab.artifacts.manifests import Finished, Form, Manifests
from reasoning_lab.artifacts.preferences import Preferences
from reasoning_lab.artifacts.scores import Scores
from reasoning_lab.artifacts.traces import Traces
from reasoning_lab.model_pair.size import load_footprint

LINES = {
    "completions": "completions.jsonl",
    "completion_shards": "completions.jsonl",
    "grades": "grades.jsonl",
    "scores": "scores.jsonl",
    "annotations": "annotations.jsonl",
    "traces": "traces.jsonl",
    "preferences": "preferences.jsonl",
}
"""By kind, the file with a line for each answer; builds of other kinds are counted whole."""
DRAWN = ("completions", "completion_shards")
"""Kinds that are counted by their decode tokens."""
READERS = (Scores, Annotations)
"""What reads answers token by token, as if it drew them."""
BANDWIDTH = 3.35e12
"""Of memory [bytes/s], where nothing was measured on a GPU: an H100 SXM's, as NVIDIA states it."""


class Time(NamedTuple):
    """Of a build [s]."""

    seconds: float
    is_measured: bool
    """By earlier builds; else at least so long: the weights read once for every step, all rows at work."""


@dataclass(frozen=True)
class Machine:
    """What builds run on."""

    device: str
    """In words: 'cpu (AMD EPYC 9B14)', 'cuda (NVIDIA H200)'; 'cuda' where the make is not known, which any is."""
    rows: int

    @property
    def is_gpu(self) -> bool:
        """Whether models run on one."""
        return self.device.startswith("cuda")

    def built(self, manifest: Mapping[str, Any]) -> bool:
        """Whether an artifact was built on such a machine, by one attempt, whose time its manifest has."""
        runtime = manifest.get("runtime", {})
        device, rows = str(runtime.get("device", "")), runtime.get("rows")
        is_same = device == self.device or (self.device.startswith("cuda") and device.startswith(f"{self.device} ("))
        return is_same and rows == self.rows and not manifest.get("earlier_attempts")


class Rates:
    """Seconds per decode token, answer or build, by manifests."""

    def __init__(self, manifests: Manifests, upstream: Mapping[str, Artifact[Any]], machine: Machine) -> None:
        self._manifests, self._upstream, self._machine = manifests, upstream, machine
        self._measured: dict[str, list[_Measured]] = {}

    def time(self, artifact: Artifact[Any], tokens: float, share: float, typical_length: float) -> Time | None:
        """Of a build; None where nothing is known.

        The median rate of builds of the same kind and models on the same device with the same rows, of the same sampler
        where there are some. Without any, on a GPU: decode steps x bytes of the weights / `BANDWIDTH`.

        Arguments: `tokens` are what a build of completions has to draw; `share` is the part of other builds that no log
        has done; `typical_length` is that of the answers that are read.
        """
        is_drawn = isinstance(artifact, Completions) and artifact.pool is None
        units = tokens if is_drawn else share * _n_answers(artifact)
        if (rate := self._rate(artifact)) is not None:
            return Time(rate * units, is_measured=True)
        if isinstance(artifact, READERS):
            tokens = units * typical_length
        if not (self._machine.is_gpu and artifact.loads() and (is_drawn or isinstance(artifact, READERS))):
            return None
        try:
            read = sum(load_footprint(source).bytes(dtype, 0) for source, dtype in artifact.loads())
        except ValueError:
            return None
        return Time(tokens / self._machine.rows * read / BANDWIDTH, is_measured=False)

    def _rate(self, artifact: Artifact[Any]) -> float | None:
        if artifact.kind not in self._measured:
            kinds = (artifact.kind, *(["completion_shards"] if artifact.kind == "completions" else []))
            of_kind = [found for kind in kinds for found in self._manifests.of_kind(kind)]
            self._measured[artifact.kind] = [found for each in of_kind if (found := self._measure(each)) is not None]
        ours = artifact.canonical()
        sort = _models(ours, self._form), _is_choice(ours)
        alike = [each for each in self._measured[artifact.kind] if each.sort == sort]
        same = [each.rate for each in alike if each.sampler == _sampler(ours)]
        return median(same or [each.rate for each in alike]) if alike else None

    def _measure(self, found: Finished) -> "_Measured | None":
        """None for what another machine built, several attempts did, or was merged of shards, which tell."""
        seconds = found.manifest.get("seconds")
        shards = found.manifest.get("runtime", {}).get("shards")
        if found.form.get("kind") == "completions" and isinstance(shards, int) and shards > 1:
            return None
        if not (self._machine.built(found.manifest) and isinstance(seconds, (int, float))):
            return None
        units = _units(found)
        if not units:
            return None
        sort = _models(found.form, self._form), _is_choice(found.form)
        return _Measured(sort, _sampler(found.form), seconds / units)

    def _form(self, key: str) -> Form | None:
        return self._upstream[key].canonical() if key in self._upstream else self._manifests.form(key)


class _Measured(NamedTuple):
    sort: tuple[frozenset[str], bool]
    """Models, and whether it chose from a pool."""
    sampler: str | None
    rate: float
    """Seconds per unit."""


def _units(found: Finished) -> float:
    """Decode tokens of completions, answers of what has a line for each, else one build; 0 for what can't be read."""
    kind = str(found.form.get("kind"))
    if kind not in LINES or _is_choice(found.form):
        return 1.0
    try:
        lines = list(read_lines(found.folder / LINES[kind]))
        return float(sum(line["decode_tokens"] for line in lines) if kind in DRAWN else len(lines))
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0


def _n_answers(artifact: Artifact[Any]) -> float:
    """Answers that are worked on, 1 where builds are counted whole."""
    if isinstance(artifact, (Grades, Scores, Annotations, Traces, Preferences)):
        return float(artifact.completions.n_answers)
    return 1.0


def _sampler(form: Form) -> str | None:
    """Its class, of completions."""
    return form["sampler"].get("class") if isinstance(form.get("sampler"), dict) else None


def _is_choice(form: Form) -> bool:
    """Whether the answers were chosen from a pool's, and nothing was drawn."""
    return "pool" in form["sampler"] if isinstance(form.get("sampler"), dict) else False


def _models(form: Any, form_of: Callable[[str], Form | None]) -> frozenset[str]:
    """All models and engines that a result rests on, by what they say they are; what is upstream of it included."""
    if isinstance(form, (list, tuple)):
        return frozenset().union(*(_models(each, form_of) for each in form))
    if not isinstance(form, dict):
        return frozenset()
    if set(form) == {"key"}:
        return _models(form_of(form["key"]), form_of)
    if {"prompt_format", "engine"} & set(form) and "class" not in form:
        return frozenset({json.dumps(form, sort_keys=True)})
    return _models(list(form.values()), form_of)
