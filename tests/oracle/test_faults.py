"""The list of deliberate faults keeps up with the code."""

from pathlib import Path

import pytest

from experiments.trust.fault_list import FAULTS
from experiments.trust.faults import with_fault

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("number", range(1, len(FAULTS) + 1))
def test_each_fault_can_still_be_made(number):
    fault = FAULTS[number - 1]
    assert fault.new in with_fault(fault, ROOT)
    assert all((ROOT / test.split("::")[0]).exists() for test in fault.tests)
