"""Fixtures that the tests of training share."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.taught import Command, Taught, run_command, teach
from support.word_teacher import small_word_teacher


@pytest.fixture(scope="session")
def intentd_train() -> Command:
    return run_command


@pytest.fixture(scope="session")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Taught:
    return teach(tmp_path_factory.mktemp("taught"))


@pytest.fixture(scope="session")
def word_teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ONNX network with EfficientWord-Net's interface, random weights."""
    return small_word_teacher(tmp_path_factory.mktemp("word-teacher") / "teacher.onnx")
