"""A webhook against HTTP servers of all bad kinds.

They show what arrives, what is tried again, and what is given up.
"""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook as Verifier
from support.http_server import Answer, Server, close, drip, flood, hang, rubbish, status
from support.run_controls import Controls, free_port

from daemon.base.errors import UserError
from daemon.config import Settings, load_settings
from daemon.config.sources import Sources
from daemon.messages import Event, RunInfo, Status
from daemon.output.base import MessageDropped, OutputContext
from daemon.output.dispatch import Dispatcher
from daemon.output.webhook import factory
from daemon.output.webhook.endpoint import Endpoint
from daemon.output.webhook.output import Webhook

ROOT = Path(__file__).resolve().parents[2]
RUN = RunInfo((), ("left", "right"), frozenset(), (0.5, 0.5), "m", "b", 1.0, 0.24)


def event(number: int = 0) -> Event:
    return Event("mic", "left", number, number + 0.5, 0.9, number + 1.0, "2026-11-01T10:00:00Z")


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(*answers: Answer, tls: ssl.SSLContext | None = None) -> Server:
        servers.append(Server(*answers, tls=tls))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def webhook(
    url: str, *, secret: str = "", token: str = "", ca_file: str = "",
    timeout: float = 10.0, keep: float = 60.0,
) -> Webhook:  # fmt: skip
    endpoint = Endpoint(url, ca_file=ca_file, timeout=timeout)
    output = Webhook(endpoint, credentials=lambda: (secret, token), keep=keep, queue=100)
    output.open(RUN)
    return output


def deliver(output: Webhook, message: Event) -> None:
    """Publish as a lane does: again after a failure.

    A connection that the server is just closing is one.
    """
    for _ in range(5):
        try:
            return output.publish(message)
        except OSError:
            time.sleep(0.1)
    raise AssertionError("not delivered")


# ---- what arrives -------------------------------------------------------------------------------


def test_an_event_is_posted_as_its_json_line_over_one_connection(
    serve: Callable[..., Server],
) -> None:
    server = serve(status(204), status(200))
    output = webhook(server.url, token="t0ken")
    for number in range(3):
        deliver(output, event(number))
    output.publish(Status(None, "something else"))
    bodies = [json.loads(body) for _, _, body in server.got]
    assert [body["start"] for body in bodies] == [0, 1, 2]
    assert bodies[0] == {
        "type": "event", "stream": "mic", "intent": "left", "start": 0.0, "end": 0.5,
        "score": 0.9, "at_stream": 1.0, "at": "2026-11-01T10:00:00Z",
    }  # fmt: skip
    path, headers, _ = server.got[0]
    assert path == "/hook?key=7" and headers["Content-Type"] == "application/json"
    assert headers["Authorization"] == "Bearer t0ken" and "webhook-signature" not in headers
    assert output.state == "3 events taken, 0 refused"
    assert "key" not in output.name and str(server.port) in output.name
    assert len(server.connections) <= 2  # a 204 that says it has two bytes ends the first


@pytest.mark.parametrize("secret", ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "plain ✓ text"])
def test_the_signature_is_that_of_standard_webhooks(
    serve: Callable[..., Server], secret: str
) -> None:
    server = serve(status(200))
    webhook(server.url, secret=secret).publish(event())
    _, headers, body = server.got[0]
    key = secret if secret.startswith("whsec_") else secret.encode()
    found = Verifier(key).verify(body, {name.lower(): text for name, text in headers.items()})
    assert found["intent"] == "left"
    with pytest.raises(Exception, match="signature"):
        Verifier(key).verify(body + b" ", {name.lower(): text for name, text in headers.items()})


def test_another_secret_and_token_count_once_files_are_opened_again(
    serve: Callable[..., Server],
) -> None:
    server = serve(status(200))
    known = ["one", "first"]
    output = Webhook(
        Endpoint(server.url, ca_file="", timeout=1.0),
        credentials=lambda: (known[0], known[1]), keep=60.0, queue=100,
    )  # fmt: skip
    output.open(RUN)
    deliver(output, event())
    known[:] = ["two", "second"]
    output.reopen()
    deliver(output, event())
    for (_, headers, body), secret, token in zip(
        server.got, ("one", "two"), ("first", "second"), strict=True
    ):
        lower = {name.lower(): text for name, text in headers.items()}
        assert Verifier(secret.encode()).verify(body, lower)["intent"] == "left"
        assert headers["Authorization"] == f"Bearer {token}"
    known[0] = "whsec_?"
    with pytest.raises(OSError, match="can't be used"):
        output.reopen()


# ---- what is tried again, and what is not -------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (status(500), "the server answers 500 Internal Server Error"),
        (status(429), "the server answers 429 Too Many Requests"),
        (hang(3.0), "no answer within 0.5 s"),
        (close, "closed the connection|reset"),
        (rubbish, "closed the connection|connection"),
        (drip, "no answer within 0.5 s"),
        (status(302, Location="/hook?key=7"), "redirects too often"),
    ],
)
def test_what_may_pass_is_tried_again_with_the_same_identifier(
    serve: Callable[..., Server], answer: Answer, reason: str
) -> None:
    server = serve(answer)
    output = webhook(server.url, timeout=0.5)
    begun = time.monotonic()
    with pytest.raises(OSError, match=reason):
        output.publish(first := event())
    assert time.monotonic() - begun < 3.0
    server.answers[:] = [status(200)]
    output.publish(first)
    output.publish(event(1))
    identifiers = [headers["webhook-id"] for _, headers, _ in server.got]
    assert len(set(identifiers)) == 2 and identifiers[-1] != identifiers[-2] == identifiers[0]
    assert json.loads(server.got[-1][2])["start"] == 1


def test_a_server_that_is_gone_is_named(serve: Callable[..., Server]) -> None:
    server = serve(status(200))
    server.stop()
    with pytest.raises(OSError, match="Connection refused"):
        webhook(server.url).publish(event())
    with pytest.raises(OSError, match="can't be resolved"):
        webhook("http://no-such-host.invalid/").publish(event())


def test_after_a_while_an_event_is_given_up(serve: Callable[..., Server]) -> None:
    server = serve(status(503))
    output = webhook(server.url, keep=0.2)
    first = event()
    with pytest.raises(OSError, match="503"):
        output.publish(first)
    time.sleep(0.25)
    with pytest.raises(MessageDropped, match=r"tried for 0\.2 s: the server answers 503"):
        output.publish(first)


@pytest.mark.parametrize("code", [400, 401, 404, 410])
def test_what_the_server_refuses_is_dropped_at_once(
    serve: Callable[..., Server], code: int
) -> None:
    output = webhook(serve(status(code)).url)
    with pytest.raises(MessageDropped, match=f"the server answers {code}"):
        output.publish(event())
    assert output.state == "0 events taken, 1 refused"


def test_an_answer_without_end_is_not_read(serve: Callable[..., Server]) -> None:
    output = webhook(serve(flood).url)
    begun = time.monotonic()
    output.publish(event())
    assert time.monotonic() - begun < 1.0 and output.state.startswith("1 event")


@pytest.mark.parametrize("code", [301, 302, 307, 308])
def test_redirects_are_followed_within_the_host_only(
    serve: Callable[..., Server], code: int
) -> None:
    other = serve(status(200))
    server = serve(status(code, Location="/moved"), status(200))
    webhook(server.url, token="t").publish(event())
    assert [(path, bool(body)) for path, _, body in server.got] == [
        ("/hook?key=7", True), ("/moved", True),
    ]  # fmt: skip
    server.answers[:] = [status(code, Location=f"http://127.0.0.1:{other.port}/steal")]
    with pytest.raises(MessageDropped, match="redirects to another host"):
        webhook(server.url, token="t").publish(event())
    assert other.got == []


# ---- TLS ----------------------------------------------------------------------------------------


def test_a_certificate_is_checked(serve: Callable[..., Server], tmp_path: Path) -> None:
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", "key.pem", "-out", "cert.pem"),
        ],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    server = serve(status(200), tls=context)
    with pytest.raises(OSError, match=r"(?i)TLS failed: .*certificate"):
        webhook(server.url).publish(event())
    webhook(server.url, ca_file=str(tmp_path / "cert.pem")).publish(event())
    assert len(server.got) == 1
    with pytest.raises(UserError, match=r"webhook\.ca_file is .*can't be used"):
        webhook(server.url, ca_file=str(tmp_path / "gone.pem"))


# ---- in a run -----------------------------------------------------------------------------------


@pytest.mark.waits
def test_events_wait_for_a_server_that_is_gone_and_arrive_in_order(
    serve: Callable[..., Server],
) -> None:
    server = serve(status(200), status(500), close, status(503), status(200))
    output = webhook(server.url)
    dispatcher = Dispatcher([output], lossless=False, first_retry=0.05)
    dispatcher.open(RUN)
    dispatcher.publish(*(event(number) for number in range(7)))
    end = time.monotonic() + 20
    while dispatcher.pending or dispatcher.troubles:
        assert time.monotonic() < end
        time.sleep(0.02)
    dispatcher.close(2)
    starts = [json.loads(body)["start"] for _, _, body in server.got]
    assert list(dict.fromkeys(starts)) == [0, 1, 2, 3, 4, 5, 6] and len(starts) == 10
    assert dispatcher.lost == {} and dispatcher.failures == []


def test_a_dropped_event_is_counted_and_said(
    serve: Callable[..., Server], capsys: pytest.CaptureFixture[str]
) -> None:
    dispatcher = Dispatcher([webhook(serve(status(404), status(200)).url)], lossless=True)
    dispatcher.open(RUN)
    dispatcher.publish(event(0), event(1))
    dispatcher.close(5)
    (name,) = dispatcher.lost
    assert dispatcher.lost == {name: 1}
    assert dispatcher.failures == [f"{name}: 1 messages lost, the server answers 404 Not Found"]
    assert "a message is dropped, the server answers 404 Not Found." in capsys.readouterr().err


# ---- settings -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url", ["host/path", "ftp://host/", "http://", "http://[::1", "http://a b/"]
)
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(UserError, match=r"output\.webhook is .*must be a URL"):
        webhook(url)


def test_no_secret_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError) as caught:
        load_settings(Sources(assignments=("output.webhook=https://me:pass@host/",), search=False))
    assert "pass@" not in str(caught.value) and "[webhook]" in str(caught.value)
    (tmp_path / "secret").write_text("two\nlines")
    settings = Settings.model_validate(
        {
            "output": {"webhook": "http://127.0.0.1:1/"},
            "webhook": {"secret_file": str(tmp_path / "secret")},
        }
    )
    with pytest.raises(UserError) as caught:
        factory.make(OutputContext(settings, Controls()))
    assert "lines" not in str(caught.value) and "must hold one line" in str(caught.value)
    monkeypatch.setenv("INTENTD_WEBHOOK_SECRET", "whsec_not base64")
    plain = Settings.model_validate({"output": {"webhook": "http://127.0.0.1:1/"}})
    with pytest.raises(UserError, match="secret can't be used") as caught:
        factory.make(OutputContext(plain, Controls()))
    assert "not base64" not in str(caught.value)
    assert load_settings(Sources(search=False)).warnings() == []


@pytest.mark.waits
def test_the_receiver_of_the_documentation_prints_the_events_of_the_demo(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "webhook.md").read_text()
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    printed = page.split("webhook.secret_file=webhook-secret\n")[1].split("```")[0].splitlines()
    port = free_port()
    (tmp_path / "receiver.py").write_text(program.replace("8080", str(port)))
    (tmp_path / "webhook-secret").write_text("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n")
    receiver = subprocess.Popen(
        [sys.executable, "receiver.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    try:
        while socket.socket().connect_ex(("127.0.0.1", port)) != 0:
            time.sleep(0.05)
        done = subprocess.run(
            [
                *(sys.executable, "-m", "daemon", "replay", "--demo", "--speed", "max"),
                *("--headless", "--set", f"output.webhook=http://127.0.0.1:{port}/"),
                *("--set", "webhook.secret_file=webhook-secret"),
            ],
            cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True,
            text=True, check=False, timeout=240,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
    finally:
        receiver.terminate()
    said = [line.split() for line in receiver.communicate(timeout=20)[0].splitlines()]
    assert [word for word, _ in said] == [line.split()[0] for line in printed]
    scores = [float(line.split()[1]) for line in printed]
    assert [float(score) for _, score in said] == pytest.approx(scores, abs=0.05)
