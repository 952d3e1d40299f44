"""Live memory: the bytes of all tensors that are alive, followed operation by operation, on any device.

An allocator's own peak (torch.cuda.max_memory_allocated) exists on GPUs alone, and a process's resident memory is what
the allocator felt like. This counts storages as they come and go; what a kernel takes and gives back within one
operation is not seen. On torch's meta device it tells what a computation would need where nothing is there.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any
from weakref import ref

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveMemory(TorchDispatchMode):
    """While it is on: `now` bytes are alive, and `peak` were the most. Tensors from before count once they are given to
    `hold` or used."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._storages: dict[int, Any] = {}

    def hold(self, tensors: Iterable[Tensor]) -> None:
        """Count the storages of these."""
        for tensor in tensors:
            self._note(tensor.untyped_storage())

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        # Within inference_mode whole compositions come here: their parts are to be seen too.
        with self:
            out = func.decompose(*args, **kwargs)
        if out is NotImplemented:
            out = func(*args, **kwargs)
        self.hold(each for each in tree_leaves((args, kwargs, out)) if isinstance(each, Tensor))
        return out

    def _note(self, storage: torch.UntypedStorage) -> None:
        if (name := storage._cdata) not in self._storages:
            size = storage.nbytes()
            self._storages[name] = ref(storage, partial(self._gone, name, size))
            self.now += size
            self.peak = max(self.peak, self.now)

    def _gone(self, name: int, size: int, _: Any) -> None:
        del self._storages[name]
        self.now -= size
