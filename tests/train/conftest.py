"""Fixtures that the tests of training share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.taught import Command, Taught, run_command, teach
from support.word_teacher import small_word_teacher


@pytest.fixture(scope="session")
def intentd_train() -> Command:
    return run_command


@pytest.fixture(scope="session")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Taught:
    return teach(tmp_path_factory.mktemp("taught"))


@pytest.fixture(scope="session")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Whisper of 30,000 parameters as CTranslate2 reads it."""
    pytest.importorskip("ctranslate2")
    from ctranslate2.converters.transformers import WhisperLoader
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    torch.manual_seed(0)
    config = WhisperConfig(
        vocab_size=64,
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )
    spec = WhisperLoader().get_model_spec(WhisperForConditionalGeneration(config))
    spec.register_vocabulary([f"<{number}>" for number in range(64)])
    spec.validate()
    folder = tmp_path_factory.mktemp("whisper")
    spec.save(str(folder))
    return folder


@pytest.fixture(scope="session")
def word_teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network with the interface of EfficientWord-Net's and random weights, as ONNX."""
    return small_word_teacher(tmp_path_factory.mktemp("word-teacher") / "teacher.onnx")
