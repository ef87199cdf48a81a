"""The part of the hub's HTTP interface that pushing a model needs."""

from __future__ import annotations

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_ofThisTest"


class FakeHub:
    """`with FakeHub() as hub:` a hub at `hub.address` that keeps uploads."""

    def __init__(self) -> None:
        self.repositories: set[str] = set()
        self.large: dict[str, bytes] = {}
        """Contents by SHA-256, as LFS uploads them."""
        self.files: dict[str, bytes] = {}
        """Contents by path, as the last commit has them."""
        self.checked = ""
        """The model card whose header was to be checked."""
        self.summary = ""
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.answer(hub.post)

            def do_PUT(self) -> None:
                self.answer(hub.put)

            def answer(self, take: Any) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                upload = self.path.startswith("/upload/")
                if not upload and self.headers.get("Authorization") != f"Bearer {TOKEN}":
                    self.reply(401, {"error": "Invalid username or password."})
                    return
                self.reply(200, take(self.path, body))

            def reply(self, status: int, answer: Any) -> None:
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> FakeHub:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def post(self, path: str, body: bytes) -> Any:
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization') or 'someone'}/{asked['name']}"
            self.repositories.add(name)
            return {"url": f"{self.address}/{name}", "name": name, "id": "1"}
        if path == "/api/validate-yaml":
            self.checked = json.loads(body)["content"]
            return {"errors": [], "warnings": []}
        if "/preupload/" in path:
            return {
                "files": [
                    {
                        "path": file["path"],
                        "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                        "shouldIgnore": False,
                    }
                    for file in json.loads(body)["files"]
                ]
            }
        if path.endswith("/info/lfs/objects/batch"):
            objects = json.loads(body)["objects"]
            return {
                "transfer": "basic",
                "objects": [
                    o | {"actions": {"upload": {"href": f"{self.address}/upload/{o['oid']}"}}}
                    for o in objects
                ],
            }
        if "/commit/" in path:
            self.commit([json.loads(line) for line in body.splitlines()])
            name, commit = path.removeprefix("/api/models/").split("/commit/")[0], "0" * 40
            return {"commitUrl": f"{self.address}/{name}/commit/{commit}", "commitOid": commit}
        raise AssertionError(f"nobody asks a hub for {path}")

    def put(self, path: str, body: bytes) -> Any:
        self.large[path.removeprefix("/upload/")] = body
        return {}

    def commit(self, lines: list[dict[str, Any]]) -> None:
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                self.summary = value["summary"]
            elif line["key"] == "file":
                self.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                self.files[value["path"]] = self.large[value["oid"]]
