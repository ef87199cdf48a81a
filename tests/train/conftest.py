"""Fixtures that the tests of training share."""

from __future__ import annotations

import pytest
from taught import Command, Taught, run_command, teach


@pytest.fixture(scope="session")
def intentd_train() -> Command:
    return run_command


@pytest.fixture(scope="session")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Taught:
    return teach(tmp_path_factory.mktemp("taught"))
