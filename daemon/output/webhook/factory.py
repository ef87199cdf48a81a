"""Builds the webhook output if the settings ask for it."""

from __future__ import annotations

import http
from typing import TYPE_CHECKING

from daemon.base.errors import os_reason
from daemon.base.trial import Outcome
from daemon.config import Settings
from daemon.output.base import OutputContext
from daemon.output.extras import required
from daemon.output.secrets import read_secret

if TYPE_CHECKING:
    from daemon.output.webhook.endpoint import Endpoint
    from daemon.output.webhook.output import Webhook


def make(context: OutputContext) -> Webhook | None:
    """The webhook output; None if the settings don't ask for it.

    Raises: UserError if urllib3 is missing, or a setting is wrong.
    """
    settings = context.settings
    if not settings.output.webhook:
        return None
    endpoint = _endpoint(settings)
    from daemon.output.webhook.output import Webhook

    return Webhook(
        endpoint,
        credentials=lambda: _credentials(settings),
        keep=settings.webhook.keep,
        queue=settings.webhook.queue,
    )


def try_url(settings: Settings) -> Outcome:
    """Ask the server for its options, without a token; it changes nothing.

    Raises: UserError if a setting is wrong.
    """
    endpoint = _endpoint(settings)
    from daemon.output.webhook.endpoint import RedirectedError
    from daemon.output.webhook.signature import signing_key

    secret, _ = _credentials(settings)
    try:
        signing_key(secret)
        status = endpoint.request("OPTIONS", {})
    except ValueError as error:
        return False, f"the secret can't be used: {error}", "write another secret"
    except OSError as error:
        fix = "start the server, name another URL in output.webhook, or set webhook.ca_file"
        return False, f"{endpoint.shown}: {os_reason(error)}", fix
    except RedirectedError:
        fix = "name the URL that it redirects to, if that is right"
        return False, f"{endpoint.shown} redirects to another host", fix
    finally:
        endpoint.close()
    answer = f"{endpoint.shown} can be reached"
    if status in (http.HTTPStatus.NOT_FOUND, http.HTTPStatus.GONE):
        note = f"it answers OPTIONS with {status}: is the path of output.webhook right?"
        return True, answer, note
    return True, answer, ""


def _endpoint(settings: Settings) -> Endpoint:
    """Raises: UserError."""
    with required("output.webhook", "urllib3", "webhook"):
        from daemon.output.webhook.endpoint import Endpoint
    about = settings.webhook
    return Endpoint(settings.output.webhook, ca_file=about.ca_file, timeout=about.timeout)


def _credentials(settings: Settings) -> tuple[str, str]:
    """The secret and the token. Raises: UserError."""
    return (
        read_secret(settings, "webhook.secret_file"),
        read_secret(settings, "webhook.token_file"),
    )
