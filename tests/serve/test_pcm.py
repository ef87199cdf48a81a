"""Raw PCM of any format as samples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.served import pcm

from daemon.serve.pcm import FormatError, PcmDecoder, PcmFormat


@pytest.mark.parametrize("width", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [1, 3])
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_samples_survive_any_cutting(width: int, channels: int, data: st.DataObject) -> None:
    rng = np.random.default_rng(width)
    sound = rng.uniform(-1, 1, (50, channels)).astype(np.float32)
    sound[:2] = [[-1.0], [1.0]]
    raw = pcm(sound, width)
    decoder = PcmDecoder(PcmFormat.checked(16000, width, channels))
    parts, at = [], 0
    while at < len(raw):
        size = data.draw(st.integers(1, 40))
        parts.append(decoder.feed(raw[at : at + size]))
        at += size
    found = np.concatenate(parts)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, sound.mean(axis=1), atol=1.01 / 2 ** (8 * width - 1) + 1e-6)


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ((999, 2, 1), "rate"), ((400_000, 2, 1), "rate"), ((16000.0, 2, 1), "rate"),
        ((True, 2, 1), "rate"), (("16000", 2, 1), "rate"), ((None, 2, 1), "rate"),
        ((16000, 0, 1), "width"), ((16000, 5, 1), "width"), ((16000, 2, 0), "channels"),
        ((16000, 2, 65), "channels"), ((10**400, 2, 1), "rate"),
    ],
)  # fmt: skip
def test_what_is_no_format_is_said(form: tuple[object, object, object], name: str) -> None:
    with pytest.raises(FormatError, match=f"{name} is .*; it must be a whole number from"):
        PcmFormat.checked(*form)
