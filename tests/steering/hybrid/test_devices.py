"""Base and thinking model on two devices: what one has of the other's was brought there, and nothing else changes.

A machine without two GPUs has no second device on which arithmetic can be done. Here every tensor that is made of the
thinking model's weights, cache or inputs is marked as its own, `.to(device)` alone takes the mark off or puts it on,
and an operation between marked and unmarked tensors is the error that it would be on two GPUs.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.weak import WeakTensorKeyDictionary

from reasoning_lab.engine.scheduler import run
from reasoning_lab.sampler.ancestral import Greedy, Temperature
from tests.steering.hybrid.test_work import CAP, CAPACITY, RULES, asked
from tests.steering.pairs import Pair, random_pair
