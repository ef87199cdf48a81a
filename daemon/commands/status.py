"""`intentd status`: how the running daemons are."""

from __future__ import annotations

import json
import sys
from typing import Any

from daemon.base.text import screen_text
from daemon.health.client import running
from daemon.health.snapshot import text


def run(*, as_json: bool, pid: int | None) -> int:
    """Report each daemon of this user, or only process `pid`.

    Status 0 if all are healthy, 1 if one is not, 2 if none runs.
    """
    reports: list[dict[str, Any]] = []
    for path, report in running():
        if isinstance(report, str):
            report = {"healthy": False, "pid": _pid(path.stem), "problems": [report]}  # noqa: PLW2901
        if pid is None or report.get("pid") == pid:
            reports.append(report)
    if not reports:
        what = "no intentd runs" if pid is None else f"no intentd runs as process {pid}"
        print(f"intentd: {what} for this user; intentd live starts one", file=sys.stderr)
        return 2
    for report in reports:
        if as_json:
            print(json.dumps(report, ensure_ascii=False))
            continue
        try:
            print(text(report))
        except (KeyError, TypeError, ValueError):
            problems = "; ".join(map(str, report.get("problems") or ["of another version"]))
            print(f"not healthy: process {report.get('pid')}: {screen_text(problems)}")
    return 0 if all(report["healthy"] is True for report in reports) else 1


def _pid(stem: str) -> int | None:
    number = stem.partition("-")[0]
    return int(number) if number.isascii() and number.isdigit() else None
