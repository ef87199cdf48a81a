"""Installs intentd for development: `python tools/install.py EXTRA…`.

With the Python of a venv.

On Linux pip's own PyTorch comes with 3 to 5 GB of CUDA. Without an NVIDIA card the CPU build from
PyTorch's own index is taken instead, where that index can be reached. Says which one it is.
"""

from __future__ import annotations

import argparse
import http.client
import platform
import subprocess
import sys
import urllib.request
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
SECONDS = 10.0
NVIDIA, DISPLAY = "0x10de", "0x03"  # PCI vendor; the class of displays and 3D controllers


def has_nvidia_card(root: Path = Path("/")) -> bool:
    """Whether this Linux has an NVIDIA card, with or without its driver."""
    if (root / "proc/driver/nvidia/version").exists():
        return True
    # In Windows' Linux (WSL) the card is no PCI device; its driver lies here.
    if (root / "usr/lib/wsl/lib/libcuda.so").exists():
        return True
    return any(
        vendor.read_text().strip() == NVIDIA
        and (vendor.parent / "class").read_text().startswith(DISPLAY)
        for vendor in (root / "sys/bus/pci/devices").glob("*/vendor")
    )


def reachable(index: str) -> bool:
    """Whether the package index answers for torch."""
    try:
        with urllib.request.urlopen(f"{index.rstrip('/')}/torch/", timeout=SECONDS) as answer:
            return bool(answer.status == 200)
    except (OSError, ValueError, http.client.HTTPException):
        return False


def torch_options(index: str, *, system: str, card: bool) -> tuple[list[str], str]:
    """Options of pip that choose the build of PyTorch, and why.

    Why: a sentence.
    """
    if system != "Linux":
        return [], "PyTorch: the build that pip gives"
    if card:
        return [], "PyTorch: the build with CUDA, as there is an NVIDIA card"
    if reachable(index):
        # A build is 2.13.0+cpu there, which pip takes for newer than 2.13.0.
        return ["--extra-index-url", index], f"PyTorch: the CPU build from {index}"
    return [], (
        f"PyTorch: the build that pip gives, as {index} can't be reached; "
        "on Linux that may be several GB"
    )


def main() -> int:
    """Install, and print which PyTorch it came to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("extras", nargs="*", metavar="EXTRA", help="extras of pyproject.toml")
    parser.add_argument("--torch-index", default=CPU_INDEX, metavar="URL")
    arguments = parser.parse_args()
    options, sentence = torch_options(
        arguments.torch_index, system=platform.system(), card=has_nvidia_card()
    )
    print(sentence, flush=True)
    extras = f"[{','.join(arguments.extras)}]" if arguments.extras else ""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", *options, "--editable", f".{extras}"]
    status = subprocess.run(pip, cwd=ROOT, check=False).returncode
    if status == 0:
        print(f"Installed: PyTorch {version('torch')}")
    return status


if __name__ == "__main__":
    sys.exit(main())
