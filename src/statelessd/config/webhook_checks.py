"""Checks of webhook endpoints that need more than the type and bounds of one setting."""

from collections.abc import Iterable, Iterator

from .settings import Config
from .webhook_files import FileError, WebhookFiles, path_of
from .webhooks import Webhook
from .wording import Wrong


def wrong_with_webhooks(webhooks: Iterable[tuple[str, Webhook]]) -> Iterator[Wrong]:
    """Yield all that is wrong with endpoints, given after their key paths, of the right types."""
    names: dict[str, str] = {}
    paths: dict[str, str] = {}
    for here, webhook in webhooks:
        if (other := names.setdefault(webhook.name, here)) != here:
            yield f"{here}.name", "", f"is also the name of {other}"
        if (other := paths.setdefault(webhook.path, here)) != here:
            yield f"{here}.path", "", f"is also the path of {other}"
        if webhook.password and webhook.password_file is not None:
            yield f"{here}.password_file", "", f"cannot be set beside {here}.password"
        try:
            WebhookFiles(webhook, here)
        except FileError as error:
            yield error.setting, "", error.reason


def doubtful_webhooks(config: Config) -> Iterator[str]:
    """Yield warnings about valid settings of endpoints that may not do what is expected."""
    server, publish = config.http_server, config.application.publish
    for i, webhook in enumerate(config.webhooks):
        here = path_of(i)
        if not webhook.password and webhook.password_file is None:
            yield f"{here} has neither password nor password_file: its password is empty."
        for setting, limit in (
            ("HTTPServer.max_unverified_bytes", server.max_unverified_bytes),
            ("Application.publish.max_bytes", publish.max_bytes),
        ):
            if webhook.max_body_bytes > limit:
                yield (
                    f"{here}.max_body_bytes is more than {setting}: a body of more bytes than "
                    "that gets a 503."
                )
        if webhook.verify.scheme == "none":
            yield f"{here}.verify.scheme is none: anybody who knows the path can publish."
