"""Size of a model by its config.json, checked before any allocation.

transformers allocates what a config asks for. So the figures that allocations depend on are read
and bounded here, and added up to an estimate of parameters and of working memory.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from daemon.base.audio import RATE
from daemon.base.errors import UserError
from daemon.model.description.fields import Fields

MAX_WEIGHT_BYTES = 4 << 30
"""In float32. facebook/wav2vec2-xls-r-1b takes 3.9 GB."""
MAX_WORKING_BYTES = 2 << 30
"""For one window. A 30 s window of wav2vec2-large takes less than 1.5 GB."""

CONV_FAMILY = {
    "wav2vec2": "Wav2Vec2ForSequenceClassification",
    "wav2vec2-conformer": "Wav2Vec2ConformerForSequenceClassification",
    "hubert": "HubertForSequenceClassification",
    "wavlm": "WavLMForSequenceClassification",
    "data2vec-audio": "Data2VecAudioForSequenceClassification",
    "unispeech": "UniSpeechForSequenceClassification",
    "unispeech-sat": "UniSpeechSatForSequenceClassification",
    "sew": "SEWForSequenceClassification",
    "sew-d": "SEWDForSequenceClassification",
}
AST = "audio-spectrogram-transformer"
WHISPER = "whisper"
HEADS = {**CONV_FAMILY, AST: "ASTForAudioClassification", WHISPER: "WhisperForAudioClassification"}
"""model_type to the class with an audio-classification head, as AutoModelForAudioClassification
chooses it."""

PER_FRAME = {"wav2vec2", "wav2vec2-conformer", "hubert", "wavlm", "unispeech", "unispeech-sat"}
"""What normalises by frame if its feat_extract_norm is "layer", and by window otherwise."""

_WIDE = 1 << 17
_DIMS = (512,) * 7
_KERNELS = (10, 3, 3, 3, 3, 2, 2)
_STRIDES = (5, 2, 2, 2, 2, 2, 2)
_SEW_KERNELS = (10, 3, 1, 3, 1, 3, 1, 3, 1, 2, 1, 2, 1)
_SEW_STRIDES = (5, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1)
_SEW_DIMS = (64, 128, 128, 128, 128, 256, 256, 256, 256, 512, 512, 512, 512)


@dataclass(frozen=True, slots=True)
class Architecture:
    """The shape of a network as far as memory and window lengths depend on it."""

    model_type: str
    head: str
    """Name of the class in transformers."""
    parameters: int
    """An estimate, within about a tenth."""
    hidden: int
    heads: int
    intermediate: int
    conv: tuple[tuple[int, int, int], ...] = ()
    """(channels, kernel, stride) of the convolutions over samples; none for AST and Whisper."""
    squeeze: int = 1
    """Frames that SEW's pooling joins into one."""
    positions: int = 0
    """Fixed length of the sequence for AST and Whisper, which pad what they hear."""
    per_frame: bool = False
    """The convolutions over samples normalise each frame by itself, and nothing pools frames."""

    @property
    def stride(self) -> int:
        """Samples from frame to frame; 0 for AST and Whisper."""
        return math.prod(stride for _, _, stride in self.conv) if self.conv else 0

    def frames(self, samples: int) -> int:
        """Length of the sequence that attention sees for a window of `samples`."""
        if not self.conv:
            return self.positions
        for _, kernel, stride in self.conv:
            samples = (samples - kernel) // stride + 1 if samples >= kernel else 0
        return samples // self.squeeze

    @property
    def shortest(self) -> int:
        """Samples of the shortest window with a frame; 1 for AST and Whisper."""
        if not self.conv:
            return 1
        needed = self.squeeze
        for _, kernel, stride in reversed(self.conv):
            needed = (needed - 1) * stride + kernel
        return needed

    def working_bytes(self, samples: int) -> int:
        """Estimated peak memory for one window, in bytes of float32.

        The largest of: a convolution's input, output and a copy of each; the scores and
        activations of an attention layer.
        """
        most, channels = samples, 1
        for dim, kernel, stride in self.conv:
            before = samples * channels
            samples = (samples - kernel) // stride + 1 if samples >= kernel else 0
            channels = dim
            most = max(most, 2 * (before + samples * channels))
        length = samples if self.conv else self.positions
        attention = 3 * self.heads * length * length
        return 4 * max(most, attention + length * (8 * self.hidden + 2 * self.intermediate))


def read_architecture(config: Fields, labels: int) -> Architecture:
    """The architecture that `config` describes, for a head of `labels` labels.

    Raises:
        UserError: intentd does not run it, it has no audio-classification head, a figure is not a
            number, or the network has more than `MAX_WEIGHT_BYTES`.
    """
    model_type = config.text("model_type", "")
    if model_type not in HEADS:
        what = f"is a {model_type!r:.60} model" if model_type else "names no model_type"
        raise UserError(
            f"{config.file} {what}; intentd runs audio classifiers of the types {', '.join(HEADS)}"
        )
    _check_head(config, model_type)
    if config.has("quantization_config"):
        raise UserError(
            f"{config.file} asks for quantised weights, which are not loaded; "
            "save the model unquantised"
        )
    if model_type == AST:
        found = _ast(config, labels)
    elif model_type == WHISPER:
        found = _whisper(config, labels)
    else:
        found = _conv_family(config, model_type, labels)
    if 4 * found.parameters > MAX_WEIGHT_BYTES:
        raise UserError(
            f"{config.file} describes a network of {_count(found.parameters)} parameters, "
            f"{_bytes(4 * found.parameters)} of memory; intentd loads at most "
            f"{_bytes(MAX_WEIGHT_BYTES)}, so use a smaller model"
        )
    return found


def check_working_memory(config: Fields, architecture: Architecture, samples: int) -> None:
    """Check that one window of `samples` takes at most `MAX_WORKING_BYTES`.

    Raises: UserError if it would take more.
    """
    needed = architecture.working_bytes(samples)
    if needed > MAX_WORKING_BYTES:
        raise UserError(
            f"{config.file} describes a network that takes {_bytes(needed)} of memory for one "
            f"window of {samples / RATE:g} s; use a shorter window or another model"
        )


def _check_head(config: Fields, model_type: str) -> None:
    named = config.strings("architectures", 16)
    if named and HEADS[model_type] not in named:
        raise UserError(
            f"{config.file} is of a {named[0]:.60}, which has no audio-classification head; "
            f"finetune it with intentd-train, or use a {HEADS[model_type]}"
        )


def _conv_family(config: Fields, model_type: str, labels: int) -> Architecture:
    sew = model_type in ("sew", "sew-d")
    conv = _convolutions(config, sew)
    hidden = config.integer("hidden_size", 768, 1, _WIDE)
    layers = config.integer("num_hidden_layers", 12, 1, 1000)
    inner = config.integer("intermediate_size", 3072, 1, _WIDE)
    heads = config.integer("num_attention_heads", 12, 1, 1024)
    projection = config.integer("classifier_proj_size", 256, 1, _WIDE)
    squeeze = config.integer("squeeze_factor", 2, 1, 1 << 10) if sew else 1

    total = _positions(config, model_type, hidden, heads)
    before = 1
    for dim, kernel, _ in conv:
        total += before * dim * kernel + 3 * dim
        before = dim
    total += before * hidden + 2 * before + hidden
    block = 4 * hidden * hidden + 2 * hidden * inner + inner + 9 * hidden
    if model_type == "wav2vec2-conformer":
        depthwise = config.integer("conv_depthwise_kernel_size", 31, 1, 1 << 16)
        block += 2 * hidden * inner + 4 * hidden * hidden + hidden * depthwise
    if config.has("adapter_attn_dim"):
        block += 2 * hidden * config.integer("adapter_attn_dim", 0, 1, _WIDE)
    total += layers * block
    if sew:
        total += hidden * hidden * squeeze
    if config.flag("add_adapter", False):
        raise config.refuse("add_adapter", "false, adapters go with no audio-classification head")
    total += hidden * projection + projection * labels
    per_frame = model_type in PER_FRAME and config.text("feat_extract_norm", "group") == "layer"
    return Architecture(
        model_type,
        HEADS[model_type],
        total,
        hidden,
        heads,
        inner,
        conv,
        squeeze,
        per_frame=per_frame,
    )


def _convolutions(config: Fields, sew: bool) -> tuple[tuple[int, int, int], ...]:
    dims = config.integers("conv_dim", _SEW_DIMS if sew else _DIMS, 1, _WIDE)
    kernels = config.integers("conv_kernel", _SEW_KERNELS if sew else _KERNELS, 1, 1 << 16)
    strides = config.integers("conv_stride", _SEW_STRIDES if sew else _STRIDES, 1, 1 << 16)
    if not len(dims) == len(kernels) == len(strides):
        raise config.refuse("conv_dim", "as long as conv_kernel and conv_stride")
    return tuple(zip(dims, kernels, strides, strict=True))


def _positions(config: Fields, model_type: str, hidden: int, heads: int) -> int:
    """Number of parameters or buffers that encode the position of a frame."""
    data2vec = model_type == "data2vec-audio"
    groups = config.integer("num_conv_pos_embedding_groups", 16, 1, _WIDE)
    around = config.integer("num_conv_pos_embeddings", 5 if data2vec else 128, 1, 1 << 16)
    width = hidden // groups + 1
    if data2vec:
        kernel = config.integer("conv_pos_kernel_size", 19, 1, 1 << 16)
        return around * hidden * (width * kernel + 1)
    total = hidden * (width * around + 1)
    if model_type == "wav2vec2-conformer":
        reach = config.integer("max_source_positions", 5000, 1, 1 << 24)
        total += 2 * reach * hidden
    elif model_type == "wavlm":
        total += config.integer("num_buckets", 320, 1, 1 << 24) * heads
    elif model_type == "sew-d":
        buckets = config.integer("position_buckets", 256, -1, 1 << 24)
        reach = config.integer("max_position_embeddings", 512, 1, 1 << 24)
        total += 2 * hidden * (buckets if buckets > 0 else reach)
    return total


def _ast(config: Fields, labels: int) -> Architecture:
    hidden = config.integer("hidden_size", 768, 1, _WIDE)
    layers = config.integer("num_hidden_layers", 12, 1, 1000)
    inner = config.integer("intermediate_size", 3072, 1, _WIDE)
    heads = config.integer("num_attention_heads", 12, 1, 1024)
    patch = config.integer("patch_size", 16, 1, 1024)
    bins = config.integer("num_mel_bins", 128, patch, 1024)
    frames = config.integer("max_length", 1024, patch, 1 << 16)
    across = (bins - patch) // config.integer("frequency_stride", 10, 1, 1024) + 1
    along = (frames - patch) // config.integer("time_stride", 10, 1, 1 << 16) + 1
    positions = across * along + 2
    total = (
        hidden * (patch * patch + positions + 6)
        + layers * (4 * hidden * hidden + 2 * hidden * inner + inner + 9 * hidden)
        + hidden * labels
    )
    return Architecture(AST, HEADS[AST], total, hidden, heads, inner, positions=positions)


def _whisper(config: Fields, labels: int) -> Architecture:
    hidden = config.integer("d_model", 384, 1, _WIDE)
    layers = config.integer("encoder_layers", 4, 1, 1000)
    inner = config.integer("encoder_ffn_dim", 1536, 1, _WIDE)
    heads = config.integer("encoder_attention_heads", 6, 1, 1024)
    bins = config.integer("num_mel_bins", 80, 1, 1024)
    positions = config.integer("max_source_positions", 1500, 1, 1 << 16)
    projection = config.integer("classifier_proj_size", 256, 1, _WIDE)
    total = (
        3 * bins * hidden
        + 3 * hidden * hidden
        + positions * hidden
        + layers * (4 * hidden * hidden + 2 * hidden * inner + inner + 9 * hidden)
        + hidden * projection
        + projection * labels
    )
    return Architecture(WHISPER, HEADS[WHISPER], total, hidden, heads, inner, positions=positions)


def _count(n: int) -> str:
    return f"{n / 1e6:,.0f} million" if n < 10**12 else f"more than {10**6:,} million"


def _bytes(n: int) -> str:
    return f"{n / 2**30:.1f} GB" if n < 2**50 else "more than a million GB"
