"""Model directories that are damaged, wrong or malicious.

Each is one sentence, and nothing is allocated.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from support.model_checkpoints import edit, windows

from daemon.base.errors import UserError
from daemon.model.classifier import Classifier, load_classifier
from daemon.model.description.info import read_model_info

Checkpoint = Callable[[str], Path]


def loaded(directory: Path) -> Classifier:
    """By one backend, since others may be the fastest at each load."""
    return load_classifier(directory, backend="torch-cpu", threads=1)


def refused(directory: Path) -> str:
    """The one sentence with which loading is refused."""
    with pytest.raises(UserError) as caught:
        load_classifier(directory, threads=1)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert str(directory) in sentence
    assert caught.value.status == 2
    return sentence


@pytest.fixture
def model(tmp_path: Path, checkpoint: Checkpoint) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(checkpoint("wav2vec2"), tmp_path / "model"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hidden_size": 100_000}, "GB of memory; intentd loads at most 4.0 GB"),
        ({"hidden_size": 10**12}, "hidden_size is 1000000000000; it must be a whole number"),
        ({"hidden_size": 10**400}, "hidden_size is a huge number"),
        ({"hidden_size": -1}, "hidden_size is -1"),
        ({"hidden_size": 32.0}, "hidden_size is 32.0"),
        ({"hidden_size": "32"}, 'hidden_size is "32"'),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers"),
        ({"intermediate_size": 10**8}, "intermediate_size"),
        ({"conv_dim": [100_000] * 3}, "GB of memory"),
        ({"conv_dim": [16] * 2}, "as long as conv_kernel"),
        ({"conv_dim": [16] * 65}, "conv_dim is"),
        ({"conv_kernel": [0, 8, 4]}, "conv_kernel"),
        ({"num_conv_pos_embeddings": 60_000, "hidden_size": 60_000}, "GB of memory"),
        ({"num_attention_heads": 0}, "num_attention_heads"),
        ({"classifier_proj_size": 100_000_000}, "classifier_proj_size"),
        ({"add_adapter": True}, "add_adapter"),
        ({"conv_stride": [1, 1, 1], "conv_kernel": [1, 1, 1]}, "GB of memory for one window"),
        ({"auto_map": {"AutoModel": "evil.Evil"}}, "wants code from its author"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quantised"),
        ({"architectures": ["Wav2Vec2ForCTC"]}, "Wav2Vec2ForCTC, which has no audio-classific"),
        ({"model_type": "bert"}, "is a 'bert' model; intentd runs audio classifiers of the types"),
        ({"model_type": None}, "names no model_type"),
        ({"hidden_act": "no-such-thing"}, "can't be made into a Wav2Vec2ForSequenceClassific"),
        ({"num_conv_pos_embedding_groups": 7}, "can't be made into"),
        ({"hidden_size": 64}, "can't be made into"),
        ({"problem_type": "regression"}, 'problem_type is "regression"'),
        ({"num_hidden_layers": 3}, "not all weights"),
        ({"feat_proj_dropout": float("nan")}, "does not run on a window of"),
    ],
)
def test_configs(model: Path, changes: dict[str, Any], words: str) -> None:
    edit(model, **changes)
    assert words in refused(model)


@pytest.mark.parametrize(
    ("kind", "file", "changes", "words"),
    [
        ("wav2vec2", "preprocessor_config.json", {"sampling_rate": 8000}, "8000 Hz"),
        ("wav2vec2", "preprocessor_config.json", {"feature_size": 2}, "feature_size"),
        ("wav2vec2", "preprocessor_config.json", {"do_normalize": "yes"}, "do_normalize"),
        (
            "wav2vec2",
            "preprocessor_config.json",
            {"feature_extractor_type": "WhisperFeatureExtractor"},
            "feature_extractor_type",
        ),
        (
            "wav2vec2",
            "preprocessor_config.json",
            {"feature_extractor_type": "os.system"},
            "feature_extractor_type",
        ),
        ("whisper", "preprocessor_config.json", {"chunk_length": 10**9}, "chunk_length"),
        ("whisper", "preprocessor_config.json", {"chunk_length": 20}, "chunk_length"),
        ("whisper", "preprocessor_config.json", {"feature_size": 128}, "feature_size"),
        ("whisper", "preprocessor_config.json", {"n_fft": 10**10}, "n_fft"),
        ("whisper", "config.json", {"d_model": 10**6}, "d_model"),
        ("whisper", "config.json", {"max_source_positions": 10**9}, "max_source_positions"),
        (
            "audio-spectrogram-transformer",
            "preprocessor_config.json",
            {"max_length": 10**8},
            "max_length",
        ),
        (
            "audio-spectrogram-transformer",
            "preprocessor_config.json",
            {"num_mel_bins": 128},
            "num_mel_bins",
        ),
        ("audio-spectrogram-transformer", "config.json", {"patch_size": 0}, "patch_size"),
        ("wavlm", "config.json", {"num_buckets": 10**12}, "num_buckets"),
        ("wav2vec2-conformer", "config.json", {"max_source_positions": 10**8}, "max_source"),
        ("sew", "config.json", {"squeeze_factor": 10**8}, "squeeze_factor"),
    ],
)
def test_other_sizes(
    tmp_path: Path,
    kind: str,
    file: str,
    changes: dict[str, Any],
    words: str,
    checkpoint: Checkpoint,
) -> None:
    directory = Path(shutil.copytree(checkpoint(kind), tmp_path / "model"))
    edit(directory, file, **changes)
    assert words in refused(directory)


@pytest.mark.parametrize("file", ["config.json", "preprocessor_config.json"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not valid JSON"),
        (b"[]", "holds no JSON object"),
        (b'{"a": ', "not valid JSON"),
        (b"\xff\xfe\x00", "not"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not valid JSON"),
        (b" " * (17 << 20), "is larger than"),
    ],
)
def test_files_that_are_no_json(model: Path, file: str, content: bytes, words: str) -> None:
    (model / file).write_bytes(content)
    assert words in refused(model)


def test_no_model_at_all(tmp_path: Path, model: Path) -> None:
    assert "is not a model directory, it has no config.json" in refused(tmp_path)
    (model / "preprocessor_config.json").unlink()
    assert "has no preprocessor_config.json" in refused(model)


def test_only_safetensors(model: Path) -> None:
    state = load_file(model / "model.safetensors")
    (model / "model.safetensors").unlink()
    assert "there is no model.safetensors" in refused(model)

    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (model / "ran",))

    torch.save(state, model / "pytorch_model.bin")
    assert "a pickle, which can run code and is never loaded" in refused(model)
    (model / "pytorch_model.bin").write_bytes(pickle.dumps(Trap()))
    assert "a pickle" in refused(model)
    (model / "model.safetensors").write_bytes(pickle.dumps(Trap()))
    assert "is damaged" in refused(model)
    (model / "model.safetensors").unlink()
    (model / "model.safetensors.index.json").write_text("{}")
    assert "several files" in refused(model)
    assert not (model / "ran").exists()


def test_other_files_have_no_say(model: Path, checkpoint: Checkpoint) -> None:
    expected = loaded(checkpoint("wav2vec2")).logits(windows(1))
    (model / "adapter_config.json").write_text('{"base_model_name_or_path": "/nowhere"}')
    (model / "modeling_evil.py").write_text("raise SystemExit")
    (model / "pytorch_model.bin").write_bytes(b"junk")
    edit(
        model,
        attn_implementation="nobody/kernels",
        _attn_implementation="nobody/kernels",
        fusion_config={"x": True},
        transformers_weights="/etc/passwd",
        dtype="float64",
        torch_dtype="bfloat16",
        distributed_config={"tp_size": 8},
        _name_or_path="/etc",
    )
    found = loaded(model).logits(windows(1))
    assert abs(found - expected).max() < 1e-5


@pytest.mark.parametrize("keep", [0, 7, 8, 100, 2000, -1])
def test_weights_cut_short(model: Path, keep: int) -> None:
    path = model / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    assert "is damaged" in refused(model)


def _with_header(path: Path, header: bytes, length: int | None = None) -> None:
    length = len(header) if length is None else length
    path.write_bytes(struct.pack("<Q", length) + header + b"\0" * 64)


@pytest.mark.parametrize(
    "tensors",
    [
        {"a": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}},
        {"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 8]}},
        {"a": {"dtype": "F32", "shape": [-1, -4], "data_offsets": [16, 0]}},
        {"a": {"dtype": "X", "shape": [4], "data_offsets": [0, 16]}},
        {"a": {"shape": "four"}},
        {"a": 5},
    ],
)
def test_lying_headers_of_weights(model: Path, tensors: Any) -> None:
    _with_header(model / "model.safetensors", json.dumps(tensors).encode())
    assert "is damaged" in refused(model)


def test_absurd_header_length(model: Path) -> None:
    _with_header(model / "model.safetensors", b"{}", 2**63)
    assert "is damaged" in refused(model)


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(model: Path, poison: float) -> None:
    path = model / "model.safetensors"
    state = load_file(path)
    state["projector.bias"][3] = poison
    save_file(state, path, metadata={"format": "pt"})
    sentence = refused(model)
    assert "not finite numbers (projector.bias)" in sentence


def test_weights_without_a_head(model: Path) -> None:
    path = model / "model.safetensors"
    state = {k: v for k, v in load_file(path).items() if not k.startswith("classifier")}
    save_file(state, path, metadata={"format": "pt"})
    assert "has no trained head (classifier.bias is missing)" in refused(model)


def test_weights_with_a_head_for_other_labels(model: Path) -> None:
    edit(model, id2label={"0": "up", "1": "down"})
    assert "can't be made into" in refused(model)


def test_half_precision_and_old_weight_norm_keys_load(model: Path, checkpoint: Checkpoint) -> None:
    expected = loaded(checkpoint("wav2vec2")).logits(windows(2))
    path = model / "model.safetensors"
    state = load_file(path)
    for new, old in (("original0", "weight_g"), ("original1", "weight_v")):
        key = f"wav2vec2.encoder.pos_conv_embed.conv.parametrizations.weight.{new}"
        state[f"wav2vec2.encoder.pos_conv_embed.conv.{old}"] = state.pop(key)
    state.pop("wav2vec2.masked_spec_embed", None)
    save_file(state, path, metadata={"format": "pt"})
    found = loaded(model).logits(windows(2))
    assert abs(found - expected).max() < 1e-5
    save_file({k: v.half() for k, v in state.items()}, path, metadata={"format": "pt"})
    found = loaded(model).logits(windows(2))
    assert 0 < abs(found - expected).max() < 0.05


@pytest.mark.parametrize("file", ["config.json", "preprocessor_config.json", "model.safetensors"])
def test_links_out_of_the_directory(model: Path, tmp_path: Path, file: str) -> None:
    outside = tmp_path / "outside"
    shutil.move(model / file, outside)
    (model / file).symlink_to(outside)
    assert "leads out of the model's directory" in refused(model)
    (model / file).unlink()
    (model / file).symlink_to(tmp_path / "nowhere")
    assert "is a link to nothing" in refused(model)
    (model / file).unlink()
    (model / file).symlink_to(model / file)
    assert str(model / file) in refused(model)
    (model / file).unlink()
    shutil.move(outside, model / f"real-{file}")
    (model / file).symlink_to(f"real-{file}")
    load_classifier(model, threads=1)


def test_a_directory_may_be_named_by_a_link(model: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(model)
    load_classifier(tmp_path / "link", threads=1)


@pytest.mark.parametrize("file", ["config.json", "preprocessor_config.json", "model.safetensors"])
def test_special_files_are_not_waited_for(model: Path, file: str) -> None:
    (model / file).unlink()
    os.mkfifo(model / file)
    assert "is not a regular file" in refused(model)
    (model / file).unlink()
    (model / file).mkdir()
    assert "is not a regular file" in refused(model)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_files_without_permission(model: Path) -> None:
    (model / "config.json").chmod(0)
    assert "check its permissions" in refused(model)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_nothing_of_a_large_config_is_allocated(model: Path) -> None:
    """Within the limit of parameters but without weights: refused before use."""
    edit(model, hidden_size=8192, intermediate_size=32768, num_attention_heads=16)
    code = (
        "import pathlib, sys\n"
        "from daemon.base.errors import UserError\n"
        "from daemon.model.classifier import load_classifier\n"
        "try: load_classifier(sys.argv[1])\n"
        "except UserError as error: print(error)\n"
        "status = pathlib.Path('/proc/self/status').read_text()\n"
        "print(int(status.split('VmHWM:')[1].split()[0]) // 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(model)], capture_output=True, text=True, check=True
    )
    sentence, megabytes = done.stdout.splitlines()
    assert "describes a network of" in sentence
    assert "million" in sentence
    assert int(megabytes) < 200


def test_transformers_is_silent(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    state = load_file(model / "model.safetensors")
    state["stranger"] = torch.zeros(3)  # which transformers would report in a table
    save_file(state, model / "model.safetensors", metadata={"format": "pt"})
    capfd.readouterr()
    load_classifier(model, threads=1)
    assert tuple(capfd.readouterr()) == ("", "")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
EXTREME = st.sampled_from([0, -1, 1, 2**31, 2**63, 10**30, 1e308, float("nan"), "", "\x1b[2J", []])


@settings(
    max_examples=300,
    deadline=2000,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_any_value_of_any_key_is_read_or_refused(
    data: st.DataObject, checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory
) -> None:
    kind = data.draw(st.sampled_from(["wav2vec2", "sew-d", "whisper", "wav2vec2-conformer"]))
    directory = tmp_path_factory.getbasetemp() / "fuzzed"
    directory.mkdir(exist_ok=True)
    for file in ("config.json", "preprocessor_config.json"):
        table = json.loads((checkpoint(kind) / file).read_text())
        table["intentd"] = {"version": 1, "window": 1.0, "thresholds": {"up": 0.5}}
        for key in data.draw(st.lists(st.sampled_from(sorted(table)), max_size=3)):
            table[key] = data.draw(JSON | EXTREME)
        (directory / file).write_text(json.dumps(table))
    try:
        info = read_model_info(directory)
    except UserError as error:
        assert "\n" not in str(error)
        assert "\x1b" not in str(error)
    else:
        assert 4 * info.architecture.parameters <= 4 << 30
        assert len(info.labels) >= 2
