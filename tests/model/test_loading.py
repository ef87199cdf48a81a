"""From a name to a directory: local, bundled, or of a hub.

The hub is a real HTTP server here that answers huggingface_hub's own requests.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from daemon.base.errors import UserError
from daemon.model.description.info import read_model_info
from daemon.model.description.resolve import resolve_model

Checkpoint = Callable[[str], Path]
COMMIT = "a" * 40


@dataclass
class Hub:
    address: str
    root: Path
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    root = tmp_path / "hub"
    root.mkdir()
    state = Hub("", root)

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            state.asked.append(f"{self.command} {self.path}")
            owner, name, _, _, file = (self.path.lstrip("/").split("/", 4) + [""] * 5)[:5]
            content = b""
            if not (root / owner / name).is_dir():
                self.send_response(401 if owner == "nobody" else 404)
                self.send_header("X-Error-Code", "RepoNotFound")
            elif owner == "gated":
                self.send_response(403)
                self.send_header("X-Error-Code", "GatedRepo")
            elif owner == "broken":
                self.send_response(503)
            elif not (root / owner / name / file).is_file():
                self.send_response(404)
                self.send_header("X-Error-Code", "EntryNotFound")
                self.send_header("X-Repo-Commit", COMMIT)
            else:
                content = (root / owner / name / file).read_bytes()
                self.send_response(200)
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if body:
                self.wfile.write(content)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield state
    server.shutdown()
    server.server_close()
    thread.join()


def resolve(name: str, tmp_path: Path, address: str, **environment: str) -> tuple[str, str]:
    """Directory and error of `resolve_model` with the hub at `address`.

    They are those of a process.
    """
    code = (
        "import sys\n"
        "from daemon.base.errors import UserError\n"
        "from daemon.model.description.info import read_model_info\n"
        "from daemon.model.description.resolve import resolve_model\n"
        "from daemon.model.weights import find_weights\n"
        "try:\n"
        "    found = resolve_model(sys.argv[1])\n"
        "    find_weights(read_model_info(found))\n"
        "    print(found)\n"
        "except UserError as error: sys.exit(str(error))"
    )
    clean = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    clean |= {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0"}
    clean |= {"HF_HUB_DISABLE_XET": "1"} | environment
    done = subprocess.run(
        [sys.executable, "-c", code, name],
        capture_output=True,
        text=True,
        check=False,
        env=clean,
        timeout=120,
    )
    assert "Traceback" not in done.stderr
    return done.stdout.strip(), done.stderr.strip()


def test_a_hub_model_is_fetched_once(hub: Hub, tmp_path: Path, checkpoint: Checkpoint) -> None:
    source = Path(shutil.copytree(checkpoint("wav2vec2"), hub.root / "owner" / "words"))
    (source / "evil.py").write_text("raise SystemExit")
    (source / "pytorch_model.bin").write_bytes(b"junk")
    directory, error = resolve("owner/words", tmp_path, hub.address)
    assert error == ""
    assert sorted(p.name for p in Path(directory).iterdir()) == [
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
    ]
    # Its files are links to the cache's blobs, the one kind of link that is followed.
    assert (Path(directory) / "config.json").is_symlink()
    assert read_model_info(directory).labels[0] == "up"
    before = len(hub.asked)
    assert resolve("owner/words", tmp_path, hub.address) == (directory, "")
    assert len(hub.asked) == before
    assert resolve("owner/words", tmp_path, hub.address, HF_HUB_OFFLINE="1") == (directory, "")


def test_weights_of_an_absurd_model_are_not_fetched(
    hub: Hub, tmp_path: Path, checkpoint: Checkpoint
) -> None:
    source = Path(shutil.copytree(checkpoint("wav2vec2"), hub.root / "owner" / "huge"))
    table = json.loads((source / "config.json").read_text()) | {"hidden_size": 100_000}
    (source / "config.json").write_text(json.dumps(table))
    _, error = resolve("owner/huge", tmp_path, hub.address)
    assert "GB of memory" in error
    assert not any("GET" in r and "safetensors" in r for r in hub.asked)
    assert any("GET" in r and "config.json" in r for r in hub.asked)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("owner/absent", "there is no model owner/absent"),
        ("gated/model", "handed out on request only"),
        ("broken/model", "the model broken/model"),
        ("owner/pickled", "lacks config.json, preprocessor_config.json or model.safetensors"),
    ],
)
def test_refusals_of_the_hub(
    hub: Hub, tmp_path: Path, checkpoint: Checkpoint, name: str, words: str
) -> None:
    for made in ("gated/model", "broken/model"):
        (hub.root / made).mkdir(parents=True)
    pickled = Path(shutil.copytree(checkpoint("wav2vec2"), hub.root / "owner" / "pickled"))
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    _, error = resolve(name, tmp_path, hub.address)
    assert words in error
    assert "\n" not in error


@pytest.mark.parametrize("offline", ["0", "1"])
def test_without_network(tmp_path: Path, offline: str) -> None:
    _, error = resolve("owner/words", tmp_path, "http://127.0.0.1:9", HF_HUB_OFFLINE=offline)
    assert error == (
        "the model owner/words is no directory here and the hub can't be reached to fetch it; "
        "connect to the network, or give a model directory"
    )


def test_offline_asks_no_hub() -> None:
    with pytest.raises(UserError, match="not in the cache of the hub"):
        resolve_model("owner/never-fetched", offline=True)


def test_a_directory_wins_over_a_hub_id(
    tmp_path: Path, checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(checkpoint("wav2vec2"), tmp_path / "owner" / "words")
    monkeypatch.chdir(tmp_path)
    assert resolve_model("owner/words") == Path("owner/words")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve_model("~/owner/words") == tmp_path / "owner" / "words"


@pytest.mark.parametrize(
    "name",
    ["nowhere", "/no/such/dir", "./a/b", "../x", "a/b/c", "a\0b", "x" * 5000, "-/-", "a/b--c"],
)
def test_names_that_are_neither_directory_nor_hub_id(name: str) -> None:
    with pytest.raises(UserError, match="there is no model directory"):
        resolve_model(name)


def test_a_file_is_no_directory(checkpoint: Checkpoint) -> None:
    weights = checkpoint("wav2vec2") / "model.safetensors"
    with pytest.raises(UserError, match="give its directory"):
        resolve_model(str(weights))


def test_the_bundled_model_has_two_names() -> None:
    try:
        directory = resolve_model("")
    except UserError as error:
        assert "without the bundled model" in str(error)
        with pytest.raises(UserError, match="without the bundled model"):
            resolve_model("bundled")
    else:
        assert directory == resolve_model("bundled")
        assert read_model_info(directory).calibrated
