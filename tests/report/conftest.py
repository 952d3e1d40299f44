"""One made-up report and one made-up hybrid for all of these tests."""

import pytest

from reasoning_lab.report import HybridReport, Report
from tests.report import hybrid_synthetic, synthetic


@pytest.fixture(scope="session")
def report() -> Report:
    return synthetic.report(n_problems=40, n_passk=12, samples=6, proposals=24)


@pytest.fixture(scope="session")
def given() -> HybridReport:
    return hybrid_synthetic.hybrid(n_problems=40, draws=2)
