"""Why there is no connection: errors of the system and of OpenSSL in words for a client.

A client need not know where the broker is, so no text has an address or a host's name.
"""

import os
import socket
import ssl

from ..failures import is_shortage
from ..message import printable

# By OpenSSL's verification errors: X509_V_ERR_…, of x509_vfy.h.
OF_CERTIFICATES = {
    9: "a certificate of the broker is not valid yet",
    10: "a certificate of the broker has expired",
    # No issuer, or one that nobody vouches for.
    **dict.fromkeys(
        (2, 18, 19, 20, 21),
        "the broker's certificate is from an authority that is not trusted",
    ),
    # The name of a host, a mail address, an IP address.
    **dict.fromkeys((62, 63, 64), "the broker's certificate is for another name"),
}
# By OpenSSL's reasons.
NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST")
OTHER_VERSION = ("UNSUPPORTED_PROTOCOL", "PROTOCOL_VERSION")
# What the broker says of the certificate that it was shown: alerts of RFC 8446, section 6.2.
OURS = (
    "BAD_CERTIFICATE", "UNSUPPORTED_CERTIFICATE", "CERTIFICATE_REVOKED", "CERTIFICATE_EXPIRED",
    "CERTIFICATE_UNKNOWN", "UNKNOWN_CA", "ACCESS_DENIED",
)  # fmt: skip
SILENT = "the broker's host does not answer"


def why(error: BaseException | None) -> str:
    """Return the reason, to stand behind a colon."""
    if isinstance(error, UnicodeError):  # such as a..b
        return "the broker's host name is not valid"
    if isinstance(error, ssl.SSLCertVerificationError):
        said = f"the broker's certificate is not accepted: {printable(error.verify_message)}"
        return OF_CERTIFICATES.get(error.verify_code, said)
    if isinstance(error, ssl.SSLError):
        return _failed(error.reason or "unknown error")
    if isinstance(error, socket.gaierror):
        return "the broker's host name cannot be resolved"
    if isinstance(error, ConnectionError) and not error.errno:  # the event loops', not the system's
        return "the broker hung up during the TLS handshake"
    if is_shortage(error):
        return "the gateway is out of file descriptors or memory"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return SILENT if isinstance(error, TimeoutError) else "the broker cannot be reached"


def lost(error: BaseException | None) -> str:
    """Return why a connection ended that was there, to stand behind a colon.

    The error's own text is not for people: uvloop's names the address of an object.
    """
    if isinstance(error, ssl.SSLError) or (isinstance(error, OSError) and error.errno):
        return why(error)
    return "the socket was closed" if error is None else "the connection broke"


def in_full(error: BaseException) -> str:
    """Return the reason for the log, with OpenSSL's own words, such as the wrong name."""
    return (
        f"{why(error)} ({printable(str(error))})" if isinstance(error, ssl.SSLError) else why(error)
    )


def _failed(reason: str) -> str:
    reason = reason.rpartition("_ALERT_")[2]  # "TLSV1_ALERT_UNKNOWN_CA"
    said = reason.replace("_", " ").lower()
    if reason == "CERTIFICATE_REQUIRED":
        return "the broker wants a client certificate, and the gateway has none"
    if reason == "HANDSHAKE_FAILURE":  # TLS 1.2 has no word of its own for it
        return "the broker refused the TLS handshake: it may want a client certificate"
    if reason in OURS:
        return f"the broker does not accept the gateway's certificate: {said}"
    if reason in OTHER_VERSION:
        return "the broker speaks no version of TLS that is allowed here"
    if reason in NO_TLS:
        return "the broker does not speak TLS on that port"
    return f"TLS failed: {printable(said)}"
