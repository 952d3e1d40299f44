"""Settings of the whole suite, made before any library is imported."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("WANDB_MODE", "offline")
if "PYTEST_XDIST_WORKER" in os.environ:  # As many processes as cores: one thread each.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
