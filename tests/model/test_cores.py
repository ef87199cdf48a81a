"""Counting of cores from what Linux says of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from daemon.model import cores


def _cpuinfo(rows: list[tuple[int, int, int]], flags: str = "fpu sse2") -> str:
    return "\n\n".join(
        f"processor\t: {n}\nphysical id\t: {package}\ncore id\t\t: {core}\nflags\t\t: {flags}"
        for n, package, core in rows
    )


HYPERTHREADED = [(0, 0, 0), (1, 0, 1), (2, 0, 0), (3, 0, 1), (4, 1, 0), (5, 1, 0)]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(cores, "_CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(cores, "_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    (tmp_path / "cpuinfo").write_text(_cpuinfo(HYPERTHREADED))
    return tmp_path


def test_hyper_threads_share_a_core(machine: Path) -> None:
    assert cores.usable_cores() == 3
    assert cores.default_threads(cores.SMALL + 1) == 3


def test_only_cores_that_the_process_may_use(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 2}, raising=False)
    assert cores.usable_cores() == 1


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("200000 100000", 2), ("150000 100000", 1), ("50000 100000", 1), ("max 100000", 3), ("", 3)],
)
def test_the_quota_of_a_container(machine: Path, quota: str, expected: int) -> None:
    (machine / "cpu.max").write_text(quota)
    assert cores.usable_cores() == expected


def test_without_proc_each_processor_counts_and_threads_are_bounded(machine: Path) -> None:
    (machine / "cpuinfo").unlink()
    assert cores.usable_cores() == 6
    assert cores.default_threads(cores.SMALL + 1) == cores.MOST_THREADS
    assert cores.default_threads(cores.SMALL) == 1


@pytest.mark.parametrize(
    ("flags", "fast"),
    [("fpu avx512f", False), ("avx512_bf16", True), ("amx_bf16 amx_tile", True), ("nobf16", False)],
)
def test_bf16_in_hardware(
    machine: Path, monkeypatch: pytest.MonkeyPatch, flags: str, fast: bool
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    (machine / "cpuinfo").write_text(_cpuinfo(HYPERTHREADED, flags))
    assert cores.has_fast_bf16() is fast
