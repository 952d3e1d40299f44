"""A second device for machines that have none: tensors of it compute on the CPU and meet no other tensor."""

from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

SECOND = torch.device("meta")
"""The name that it goes by; torch knows it, and needs nothing to be there."""


class Elsewhere(torch.Tensor):
    """A tensor of the second device."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> "Elsewhere":
        with torch.inference_mode(False):  # Views of a wrapper take its counter of versions, which others lack.
            made = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
                cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype,
                device=SECOND, requires_grad=False,
            )  # fmt: skip
        made.held = held
        return made

    def tolist(self) -> Any:
        return self.held.tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError("the second device is used outside of `TwoDevices`")


class TwoDevices(TorchDispatchMode):
    """While it is on, an operation between the two devices is an error, as it is on two GPUs; a copy from one to the
    other alone is none."""

    def __init__(self) -> None:
        super().__init__()
        self.copies: list[torch.Size] = []
        """What was brought from one device to the other."""

    def __enter__(self) -> "TwoDevices":
        # torch.tensor puts its data on a device in a way that no mode sees.
        self._made, torch.tensor = torch.tensor, _made_here(torch.tensor)
        return super().__enter__()

    def __exit__(self, *given: Any) -> None:
        torch.tensor = self._made
        super().__exit__(*given)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        leaves = [each for each in tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
        theirs = [isinstance(each, Elsewhere) for each in leaves if each.dim() > 0 or isinstance(each, Elsewhere)]
        is_copy = func.overloadpacket in COPIES
        assert is_copy or len(set(theirs)) < 2, f"{func} between two devices: {[tuple(each.shape) for each in leaves]}"
        named = [torch.device(each) for each in (*args, kwargs.get("device")) if _names_device(each)]
        is_second = named[0] == SECOND if named else any(theirs)
        if is_copy and len({is_second, *theirs}) == 2:
            self.copies.append(leaves[0].shape)

        def plain(each: Any) -> Any:
            return each.held if isinstance(each, Elsewhere) else torch.device("cpu") if _names_device(each) else each

        out = func(*tree_map(plain, args), **{name: tree_map(plain, value) for name, value in kwargs.items()})
        if not named and any(out is plain(each) for each in leaves):  # In place.
            return next(each for each in leaves if plain(each) is out)
        return tree_map(lambda each: Elsewhere(each) if isinstance(each, torch.Tensor) and is_second else each, out)


def _made_here(make: Any) -> Any:
    return lambda data, device=None, **options: make(data, **options).to(device or "cpu")


COPIES = {torch.ops.aten._to_copy, torch.ops.aten.to, torch.ops.aten.copy_}


def _names_device(value: Any) -> bool:
    return isinstance(value, torch.device)


def to_second(model: nn.Module) -> nn.Module:
    """The model with all its weights on the second device."""
    for module in model.modules():
        for held in (module._parameters, module._buffers):
            for name, tensor in held.items():
                if tensor is not None:
                    moved = Elsewhere(tensor.data)
                    held[name] = nn.Parameter(moved, requires_grad=False) if held is module._parameters else moved
    return model
