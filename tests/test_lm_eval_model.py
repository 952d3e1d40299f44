"""The lab's samplers under lm-evaluation-harness itself, on a task with a local file."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lm_eval", reason="the extra lm_eval is not installed")

import lm_eval
import torch
from lm_eval.api.instance import Instance
from lm_eval.loggers import EvaluationTracker
from lm_eval.tasks import TaskManager

from reasoning_lab import corpus
from reasoning_lab.benchmark.arithmetic import Arithmetic
from reasoning_lab.drawing import Item, Shape, score_texts
from reasoning_lab.lm_eval_model import LabLM, _until
from reasoning_lab.records import Problem
from reasoning_lab.report.lm_eval import LmEvalTask, write_lm_eval
from reasoning_lab.report import ArmResult
from tests.command import ROOT, environment

BASE = "runtime=cpu runtime.rows=8 benchmark.max_new_tokens=24"
PROBLEMS = Arithmetic(n_problems=6, max_new_tokens=24, seed=0).load() if False else None
