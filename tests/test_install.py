"""What set-up finds out before it chooses a build of PyTorch."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tools.install import has_nvidia_card, reachable, torch_options


def pci_device(root: Path, address: str, vendor: str, kind: str) -> None:
    folder = root / "sys/bus/pci/devices" / address
    folder.mkdir(parents=True)
    (folder / "vendor").write_text(f"{vendor}\n")
    (folder / "class").write_text(f"{kind}\n")


def test_a_card_counts_with_and_without_its_driver(tmp_path: Path) -> None:
    assert not has_nvidia_card(tmp_path)
    pci_device(tmp_path, "0000:00:02.0", "0x8086", "0x030000")  # another maker's graphics
    pci_device(tmp_path, "0000:01:00.1", "0x10de", "0x040300")  # the sound of an NVIDIA card
    assert not has_nvidia_card(tmp_path)
    pci_device(tmp_path, "0000:01:00.0", "0x10de", "0x030200")
    assert has_nvidia_card(tmp_path)


@pytest.mark.parametrize("file", ["proc/driver/nvidia/version", "usr/lib/wsl/lib/libcuda.so"])
def test_a_driver_is_enough(tmp_path: Path, file: str) -> None:
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).touch()
    assert has_nvidia_card(tmp_path)


@pytest.fixture
def index(tmp_path: Path) -> Iterator[str]:
    """A package index that has torch."""
    (tmp_path / "torch").mkdir()
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_without_a_card_the_cpu_build_is_taken_where_it_can_be_had(index: str) -> None:
    assert reachable(index) and reachable(f"{index}/")
    options, sentence = torch_options(index, system="Linux", card=False)
    assert options == ["--extra-index-url", index]
    assert "the CPU build" in sentence


@pytest.mark.parametrize("missing", ["/cu0", ":x", ""])
def test_without_that_index_pip_chooses(index: str, missing: str) -> None:
    unreachable = index + missing if missing else "http://127.0.0.1:1"
    assert not reachable(unreachable)
    options, sentence = torch_options(unreachable, system="Linux", card=False)
    assert options == []
    assert unreachable in sentence and "GB" in sentence


@pytest.mark.parametrize(
    ("system", "card"), [("Linux", True), ("Darwin", False), ("Windows", False)]
)
def test_elsewhere_the_index_is_not_asked(index: str, system: str, card: bool) -> None:
    assert torch_options(index, system=system, card=card)[0] == []
