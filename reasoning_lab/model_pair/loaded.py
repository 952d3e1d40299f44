"""A model in memory: its policy with its reader, loaded by one code path for every pair."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
import transformers

from reasoning_lab.engine.policy import Policy
from reasoning_lab.engine.transformers import HuggingFacePolicy
from reasoning_lab.model_pair.pair import ModelSource
from reasoning_lab.model_pair.reader import Reader, load_reader, not_found, where_of

PolicyT = TypeVar("PolicyT", bound=Policy, covariant=True)


@dataclass(frozen=True)
class LoadedModel(Generic[PolicyT]):
    """A policy with its reader."""

    policy: PolicyT
    reader: Reader

    @property
    def stop_ids(self) -> frozenset[int]:
        """As Reader.stop_ids."""
        return self.reader.stop_ids

    def encode(self, text: str) -> tuple[int, ...]:
        """As Reader.encode."""
        return self.reader.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        """As Reader.decode."""
        return self.reader.decode(ids)


def load_model(source: ModelSource, dtype: str, device: str) -> LoadedModel[HuggingFacePolicy]:
    """Load weights and tokenizer by transformers; the same path for hub ids, local folders and the embedded pair."""
    reader = load_reader(source)
    return LoadedModel(HuggingFacePolicy(load_plain(source, dtype, device)), reader)


def load_plain(source: ModelSource, dtype: str, device: str) -> Any:
    """The weights as transformers gives them, with an attention of its own."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    where, options = where_of(source)
    try:
        model: Any = transformers.AutoModelForCausalLM.from_pretrained(where, dtype=getattr(torch, dtype), **options)
    except OSError as error:
        raise not_found(where, error) from error
    return model.to(device).eval()


def device_words(device: str) -> str:
    """'cpu (AMD EPYC 9B14)', 'cuda (NVIDIA H200)': a device and its make; as it is called where it is not here.

    The make of a GPU is told once something runs there: to ask earlier would set it up.
    """
    try:
        where = resolve_device(device)
    except ValueError:
        return device
    if where != "cpu" and not torch.cuda.is_initialized():
        return where
    make = _processor() if where == "cpu" else torch.cuda.get_device_name(where)
    return f"{where} ({make})" if make else where


@cache
def _processor() -> str:
    """The processor's make: /proc/cpuinfo's on Linux."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return " ".join((names[0] if names else platform.processor() or platform.machine()).split())


def cuda_devices() -> tuple[str, ...]:
    """Names of all CUDA devices that are seen; 'cuda' where there is one, which is whichever a process has."""
    n = torch.cuda.device_count()
    return tuple(f"cuda:{number}" for number in range(n)) if n > 1 else ("cuda",)


def free_bytes(device: str) -> int | None:
    """Memory that this process could fill: free on the device, and what it holds there already; None where it can't
    be known."""
    if device == "cpu":
        try:
            lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        except OSError:
            return None
        found = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
        return int(found[0]) * 1024 if found else None
    if not torch.cuda.is_available():
        return None
    return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)


def resolve_device(device: str) -> str:
    """auto: CUDA where there is one."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"runtime.device={device}: torch sees no CUDA device here; use auto or cpu.")
    return device
