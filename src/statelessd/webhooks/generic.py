"""Reads the signatures of the scheme hmac, which the settings describe."""

from collections.abc import Generator

from ..config.webhooks import TOLERANCE, Webhook
from .signatures import Claim, Part, Reader, Signed
from .source import Source
from .templates import pieces


def scheme(webhook: Webhook) -> Signed:
    """Return the scheme. Raise ValueError, with a sentence, if its settings do not fit."""
    verify = webhook.verify
    reader = _reader(webhook, _parts(webhook))
    return Signed(reader, encoding=verify.encoding, tolerance=verify.tolerance or TOLERANCE)


def _parts(webhook: Webhook) -> list[tuple[str, bool]]:
    """Return what is signed: texts, and names of parts of the delivery."""
    verify = webhook.verify
    try:
        parts = list(pieces(verify.signed))
    except ValueError as error:
        raise ValueError(f"verify.signed {error}") from None
    names = [text for text, is_name in parts if is_name]
    needs = {
        "timestamp": ("verify.timestamp_header", verify.timestamp_header),
        "id": ("verify.id_header", verify.id_header),
        "url": ("public_url", webhook.public_url),
    }
    for name in names:
        if name != "body" and name not in needs:
            raise ValueError(
                f"verify.signed has {{{name}}}; it can have {{body}}, {{timestamp}}, {{id}} and "
                "{url}."
            )
    if names.count("body") != 1:
        raise ValueError("verify.signed must have {body} exactly once, or the body is not signed.")
    for name, (setting, value) in needs.items():
        if name in names and not value:
            raise ValueError(f"{setting} is needed, because verify.signed has {{{name}}}.")
        if value and name not in names:
            raise ValueError(f"{setting} has no effect, because verify.signed has no {{{name}}}.")
    return parts


def _reader(webhook: Webhook, template: list[tuple[str, bool]]) -> Reader:
    verify = webhook.verify
    header, prefix = (verify.header or "").lower().encode(), verify.prefix.encode()
    timestamp_header = (verify.timestamp_header or "").lower().encode()
    id_header = (verify.id_header or "").lower().encode()
    url = (webhook.public_url or "").encode()

    def read(source: Source) -> Generator[None, None, Claim | None]:
        yield
        value = source.header(header)
        values: dict[str, Part] = {
            "body": source.delivery.body,
            "timestamp": source.header(timestamp_header),
            "id": source.header(id_header),
            "url": url,
        }
        if not value.startswith(prefix) or (id_header and not values["id"]):
            return None
        message = [values[text] if is_name else text.encode() for text, is_name in template]
        return Claim(
            [value.removeprefix(prefix)],
            [message],
            bytes(values["timestamp"]) if timestamp_header else None,
            verify.algorithm,
        )

    return read
