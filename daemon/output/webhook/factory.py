"""Builds the webhook output if the settings ask for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.output.base import OutputContext
from daemon.output.extras import required
from daemon.output.secrets import read_secret

if TYPE_CHECKING:
    from daemon.output.webhook.output import Webhook


def make(context: OutputContext) -> Webhook | None:
    """The webhook output; None if the settings don't ask for it.

    Raises: UserError if urllib3 is missing, or a setting is wrong.
    """
    url, about = context.settings.output.webhook, context.settings.webhook
    if not url:
        return None
    with required("output.webhook", "urllib3", "webhook"):
        from daemon.output.webhook.output import Webhook
    return Webhook(
        url,
        secret=read_secret("webhook.secret_file", about.secret_file, "INTENTD_WEBHOOK_SECRET"),
        token=read_secret("webhook.token_file", about.token_file, "INTENTD_WEBHOOK_TOKEN"),
        ca_file=about.ca_file,
        timeout=about.timeout,
        keep=about.keep,
        queue=about.queue,
    )
