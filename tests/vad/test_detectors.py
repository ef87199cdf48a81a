"""Silero and the energy gate on real sound, streams kept apart."""

from __future__ import annotations

import copy
import itertools
import json
import subprocess
import sys
from hashlib import sha256
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from safetensors.numpy import load_file, save
from support.real_words import SHARED, WORDS, clear_words
from threadpoolctl import threadpool_info

from daemon.base.audio import RATE
from daemon.base.errors import UserError
from daemon.vad import CHUNK, Coverage, Gate, GateBank, GateSettings
from daemon.vad import silero as silero_module
from daemon.vad.detector import Detector
from daemon.vad.gain import AutomaticGain, levels
from daemon.vad.silero import QUIET, RESET_AFTER, SileroDetector

KINDS = ["silero", "energy"]
GRAPH = Path(__file__).parent / "silero_vad_16k_op15.onnx"
WEIGHTS = silero_module._MODEL
Sound = NDArray[np.float32]


@pytest.fixture(scope="module")
def silero() -> SileroDetector:
    return SileroDetector()


def probabilities(detector: Detector, sounds: list[Sound]) -> list[Sound]:
    """Of all sounds side by side, chunk by chunk; they may differ in length."""
    states = [detector.new_state() for _ in sounds]
    found: list[list[float]] = [[] for _ in sounds]
    for k in range(max(len(sound) for sound in sounds) // CHUNK):
        going = [i for i, sound in enumerate(sounds) if len(sound) >= (k + 1) * CHUNK]
        chunks = np.stack([sounds[i][k * CHUNK : (k + 1) * CHUNK] for i in going])
        for i, p in zip(
            going, detector.probabilities(chunks, [states[i] for i in going]), strict=True
        ):
            found[i].append(float(p))
    return [np.array(values, np.float32) for values in found]


def voice(seconds: float, pitch: float = 100.0) -> Sound:
    """A crude voice: a gliding pulse train through moving resonances.

    They move between /i/ and /a/.
    """
    n = round(seconds * RATE)
    t = np.arange(n) / RATE
    melody = pitch * (1 + 0.25 * np.sin(2 * np.pi * 0.7 * t) + 0.01 * np.sin(2 * np.pi * 5 * t))
    pulses = np.diff(np.floor(np.cumsum(melody) / RATE), prepend=0.0)
    mouth = 0.5 - 0.5 * np.cos(2 * np.pi * 2.2 * t)
    ring = np.arange(400) / RATE
    out = np.zeros(n)
    for closed, opened, width in ((300, 730, 80), (2300, 1090, 110), (3000, 2440, 170)):
        decay = np.exp(-np.pi * width * ring)
        for formant, share in ((opened, mouth), (closed, 1 - mouth)):
            out += share * np.convolve(pulses, decay * np.sin(2 * np.pi * formant * ring))[:n]
    syllables = np.abs(np.sin(2 * np.pi * 2.2 * t))
    scaled: NDArray[np.float32] = (0.3 * syllables * out / np.abs(out).max()).astype(np.float32)
    return scaled


def noise(seconds: float, rms: float, seed: int = 0) -> Sound:
    rng = np.random.default_rng(seed)
    return (rms * rng.standard_normal(round(seconds * RATE))).astype(np.float32)


def by_graph(sound: Sound) -> Sound:
    """Silero's probabilities by its own graph under onnxruntime.

    Chunk by chunk, of sound with the gain that the detector gives it.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(str(GRAPH))
    before, state = np.zeros(64, np.float32), np.zeros((2, 1, 128), np.float32)
    found, gain = [], AutomaticGain()
    chunks = sound[: len(sound) // CHUNK * CHUNK].reshape(-1, CHUNK)
    for chunk, level, peak in zip(chunks, *levels(chunks), strict=True):
        factor = np.float32(gain.update(level, peak, CHUNK / RATE))
        given = {"input": np.concatenate([before, chunk])[None] * factor, "state": state}
        output, state = session.run(["output", "stateN"], given | {"sr": np.array(RATE)})
        before = chunk[-64:]
        found.append(output[0, 0])
    return np.array(found, np.float32)


def test_silero_has_the_weights_of_the_published_graph() -> None:
    import onnx

    assert sha256(GRAPH.read_bytes()).hexdigest() in (WEIGHTS.parent / "README.md").read_text()
    tensors = onnx.load(str(GRAPH)).graph.initializer
    published = {t.name: onnx.numpy_helper.to_array(t) for t in tensors if t.data_type == 1}
    shipped = load_file(WEIGHTS)
    assert shipped.keys() == published.keys()
    for name, values in shipped.items():
        np.testing.assert_array_equal(values, published[name])


def test_silero_gives_the_probabilities_of_its_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silero_module, "RESET_AFTER", 1 << 30)
    demo = soundfile.read(str(files("daemon") / "bundled" / "demo.flac"), dtype="float32")[0]
    for sound in (demo[: 12 * RATE], voice(3.0), noise(1.0, 0.3), np.zeros(RATE, np.float32)):
        wanted = by_graph(sound)
        (found,) = probabilities(SileroDetector(), [sound])
        np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert wanted.max() < 0.1
    assert by_graph(demo[: 12 * RATE]).max() > 0.9


def test_silero_gives_the_same_for_many_chunks_at_once_as_one_by_one(
    silero: SileroDetector,
) -> None:
    """Also where its memory is cleared, and with other streams between."""
    sounds = [np.concatenate([noise(2.5, 0.001), voice(1.0)]), voice(2.0), noise(3.0, 0.1)]
    alone = probabilities(silero, sounds)
    states = [silero.new_state() for _ in sounds]
    chunks, owners = [], []
    for start in range(0, 110, 37):  # 37 of the first stream, 37 of the second, …
        for n, sound in enumerate(sounds):
            part = sound[start * CHUNK : (start + 37) * CHUNK]
            part = part[: len(part) // CHUNK * CHUNK].reshape(-1, CHUNK)
            chunks.append(part)
            owners += [n] * len(part)
    whole = np.concatenate(chunks)
    found = np.concatenate(
        [
            silero.probabilities(whole[k : k + 50], [states[n] for n in owners[k : k + 50]])
            for k in range(0, len(whole), 50)
        ]
    )
    for n, wanted in enumerate(alone):
        mine = found[np.array(owners) == n]
        np.testing.assert_allclose(mine, wanted, atol=1e-5)
        assert len(mine) == len(sounds[n]) // CHUNK


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"no safetensors",
        save({"model.stft.forward_basis_buffer": np.zeros((258, 1, 256))}),
    ],
)
def test_silero_without_its_weights(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "silero.safetensors"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setattr(silero_module, "_MODEL", path)
    with pytest.raises(UserError, match="missing or damaged: install intentd again"):
        SileroDetector()


def test_silero_does_not_mix_streams(silero: SileroDetector) -> None:
    sounds = [voice(2.0), noise(1.5, 0.1), voice(1.0, 210), np.zeros(RATE, np.float32)]
    together = probabilities(silero, sounds)
    for sound, found in zip(sounds, together, strict=True):
        np.testing.assert_allclose(found, probabilities(silero, [sound])[0], atol=1e-5)


def test_silero_depends_on_the_chunks_before(silero: SileroDetector) -> None:
    sound = voice(1.0)
    state = silero.new_state()
    one = [silero.probabilities(sound[None, :CHUNK], [state])[0] for _ in range(2)]
    assert abs(one[0] - one[1]) > 1e-4


def test_silero_tells_a_voice_from_silence_and_noise(silero: SileroDetector) -> None:
    spoken, quiet, hiss = probabilities(
        silero, [voice(3.0), np.zeros(3 * RATE, np.float32), noise(3.0, 0.05)]
    )
    assert np.mean(spoken > 0.5) > 0.5
    assert quiet.max() < 0.1
    assert np.mean(hiss > 0.35) < 0.05


def test_silero_clears_its_memory_after_two_quiet_seconds(silero: SileroDetector) -> None:
    """Its twin on real recordings, below, shows what that is good for."""
    hiss = noise(2.048, 0.01).reshape(-1, CHUNK)[: RESET_AFTER + 1]
    state = silero.new_state()
    for k, chunk in enumerate(hiss):
        fresh = silero.new_state()
        fresh.context[:] = state.context
        fresh.gain = copy.copy(state.gain)
        wanted = silero.probabilities(chunk[None], [fresh])[0]
        found = silero.probabilities(chunk[None], [state])[0]
        assert found < QUIET
        assert (abs(found - wanted) < 1e-7) == (k in {0, RESET_AFTER})


def test_silero_keeps_its_memory_while_someone_speaks(silero: SileroDetector) -> None:
    state = silero.new_state()
    for chunk in voice(3.0)[: 90 * CHUNK].reshape(-1, CHUNK):
        silero.probabilities(chunk[None], [state])
        assert np.abs(state.hidden).max() > 0


def gate_of(kind: str, sound: Sound) -> Gate:
    bank = GateBank.load(GateSettings(kind=kind))  # type: ignore[arg-type]
    gate = bank.new_gate()
    gate.feed(sound)
    gate.finish()
    bank.run([gate])
    return gate


@pytest.mark.parametrize("kind", KINDS)
def test_a_voice_in_noise_opens_the_gate_and_the_noise_does_not(kind: str) -> None:
    sound = noise(11.0, 0.002)
    sound[5 * RATE : 8 * RATE] += voice(3.0)
    gate = gate_of(kind, sound)
    assert gate.covers(5 * RATE, 8 * RATE) is Coverage.SPEECH
    assert gate.covers(2 * RATE, 4 * RATE) is Coverage.GATED
    assert gate.covers(9 * RATE, 11 * RATE) is Coverage.GATED
    speech = gate.speech_within(4 * RATE, 10 * RATE)
    assert speech is not None
    assert abs(speech[0] - 5 * RATE) < 0.5 * RATE
    assert abs(speech[1] - 8 * RATE) < 0.3 * RATE


def test_energy_follows_noise_that_becomes_louder() -> None:
    sound = np.concatenate([noise(4.0, 0.001), noise(14.0, 0.02, seed=1)])
    gate = gate_of("energy", sound)
    assert gate.covers(4 * RATE, 5 * RATE) is Coverage.SPEECH  # it cannot know yet
    assert gate.covers(12 * RATE, 18 * RATE) is Coverage.GATED


def test_energy_is_the_same_at_any_batch() -> None:
    from daemon.vad.energy import EnergyDetector

    sounds = [voice(2.0), noise(1.5, 0.1), np.zeros(RATE, np.float32)]
    for sound, found in zip(sounds, probabilities(EnergyDetector(), sounds), strict=True):
        np.testing.assert_array_equal(found, probabilities(EnergyDetector(), [sound])[0])


def test_no_gate_needs_a_runtime() -> None:
    code = (
        "import sys; from daemon.vad import GateBank, GateSettings; import daemon.stream;"
        "GateBank.load(GateSettings(kind='energy')); GateBank.load(GateSettings(kind='off'));"
        "assert not any(m in sys.modules for m in ('onnxruntime', 'torch'));"
        ""
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


@pytest.mark.parametrize("kind", KINDS)
def test_the_demo_opens_the_gate_where_there_is_speech(kind: str) -> None:
    bundled = Path(str(files("daemon"))) / "bundled"
    sound = soundfile.read(bundled / "demo.flac", dtype="float32")[0]
    gate = gate_of(kind, sound)
    said = json.loads((bundled / "demo.json").read_text())
    for line in said:
        start, end = round(line["start"] * RATE), round(line["end"] * RATE)
        assert gate.speech_within(start, end) is not None, line
    # From half a second after one thing said to half a second before the next is silence.
    for one, following in itertools.pairwise(said):
        first, last = round((one["end"] + 0.5) * RATE), round((following["start"] - 0.5) * RATE)
        if last - first > RATE // 5:
            assert gate.covers(first, last) is Coverage.GATED, (one, following)


@pytest.mark.skipif(not WORDS.is_file(), reason="recordings of people are not here")
class TestRealRecordings:
    @pytest.mark.parametrize(("kind", "least"), [("silero", 0.95), ("energy", 0.95)])
    def test_spoken_words_open_the_gate(self, kind: str, least: float) -> None:
        words = clear_words(120)
        bank = GateBank.load(GateSettings(kind=kind))  # type: ignore[arg-type]
        gates = []
        for number, word in enumerate(words):
            gate = bank.new_gate()
            quiet = [noise(1.0, 0.0005, seed=2 * number + i) for i in (0, 1)]
            gate.feed(np.concatenate([quiet[0], word, quiet[1]]))
            gate.finish()
            gates.append(gate)
        bank.run(gates)
        opened = [gate.covers(RATE, 2 * RATE) is Coverage.SPEECH for gate in gates]
        assert np.mean(opened) >= least

    def test_words_are_detected_in_a_kitchen(self) -> None:
        sound = soundfile.read(SHARED / "noise" / "kitchen.flac", dtype="float32")[0]
        starts = [round((1 + 2.5 * i) * RATE) for i in range(40)]
        for start, word in zip(starts, clear_words(40), strict=False):
            under = sound[start : start + len(word)]
            under += word * np.sqrt(10 * np.mean(under**2) / np.mean(word**2))  # 10 dB
        gate = gate_of("silero", sound)
        heard = [gate.speech_within(start, start + RATE) is not None for start in starts]
        assert np.mean(heard) >= 0.95

    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("name", ["pink_noise", "white_noise"])
    def test_noise_is_mostly_gated(self, kind: str, name: str) -> None:
        sound = soundfile.read(SHARED / "noise" / f"{name}.flac", dtype="float32")[0][: 40 * RATE]
        gate = gate_of(kind, sound)
        spans = range(5 * RATE, len(sound) - RATE, 3840)
        gated = [gate.covers(a, a + RATE) is Coverage.GATED for a in spans]
        assert np.mean(gated) > 0.9


def test_the_gates_products_are_not_shared_among_cores() -> None:
    SileroDetector()
    of_numpy = [
        library["num_threads"] for library in threadpool_info() if "numpy" in library["filepath"]
    ]
    assert set(of_numpy) <= {1}
