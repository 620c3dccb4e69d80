"""The bytes of an answer, for each row of the table of outcomes."""

import json

import pytest

from statelessd.gateway import response
from statelessd.message import Outcome, is_unknown

DATE = b"Sun, 06 Nov 1994 08:49:37 GMT"

# The table of docs/reference/http.md, row by row: status, type, outcome, retryable.
CONTRACT = {
    Outcome.BAD_REQUEST: (400, "bad-request", "not-published", False),
    Outcome.UNAUTHORIZED: (401, "unauthorized", "not-published", False),
    Outcome.FORBIDDEN: (403, "forbidden", "not-published", False),
    Outcome.CROSS_SITE: (403, "cross-site", "not-published", False),
    Outcome.SIGNATURE_INVALID: (403, "signature-invalid", "not-published", False),
    Outcome.VIRTUAL_HOST_NOT_FOUND: (404, "virtual-host-not-found", "not-published", False),
    Outcome.EXCHANGE_NOT_FOUND: (404, "exchange-not-found", "not-published", False),
    Outcome.NO_ROUTE: (404, "no-route", "not-published", False),
    Outcome.NOT_FOUND: (404, "not-found", "not-published", False),
    Outcome.METHOD_NOT_ALLOWED: (405, "method-not-allowed", "not-published", False),
    Outcome.REQUEST_TIMEOUT: (408, "request-timeout", "not-published", True),
    Outcome.LENGTH_REQUIRED: (411, "length-required", "not-published", False),
    Outcome.TOO_LARGE: (413, "too-large", "not-published", False),
    Outcome.UNKNOWN_CODING: (415, "bad-request", "not-published", False),
    Outcome.HEADERS_TOO_LARGE: (431, "headers-too-large", "not-published", False),
    Outcome.TOO_MANY_FAILURES: (429, "too-many-failures", "not-published", True),
    Outcome.BROKER_UNAVAILABLE: (503, "broker-unavailable", "not-published", True),
    Outcome.BROKER_BLOCKED: (503, "broker-blocked", "not-published", True),
    Outcome.OVERLOADED: (503, "overloaded", "not-published", True),
    Outcome.SHUTTING_DOWN: (503, "shutting-down", "not-published", True),
    Outcome.NACKED: (503, "nacked", "unknown", True),
    Outcome.UNCONFIRMED: (504, "unconfirmed", "unknown", True),
    Outcome.INTERNAL_ERROR: (500, "internal-error", "not-published", False),
}


def answer(outcome, detail="why", *, keep_alive=True, **kwargs):
    data = response.render(
        outcome, detail, keep_alive=keep_alive, date=DATE, request_id=b"r-1", **kwargs
    )
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    return lines[0], dict(line.split(": ", 1) for line in lines[1:]), body


def test_the_contract_has_every_outcome():
    assert {*CONTRACT, Outcome.CONFIRMED} == set(Outcome)


@pytest.mark.parametrize("outcome", CONTRACT, ids=lambda o: o.value)
def test_each_outcome_has_its_row(outcome):
    status, kind, published, retryable = CONTRACT[outcome]
    line, headers, body = answer(outcome, 'exchange "x"\r\n\x00é')
    assert line.startswith(f"HTTP/1.1 {status} ")
    assert headers["content-type"] == "application/problem+json"
    assert int(headers["content-length"]) == len(body)
    document = json.loads(body)
    assert document.pop("title")
    assert document == {
        "type": f"/docs#{kind}", "status": status, "detail": 'exchange "x"\r\n\x00é',
        "outcome": published, "retryable": retryable, "request_id": "r-1",
    }  # fmt: skip
    assert ("retry-after" in headers) == (status in (429, 503))
    head, _, nothing = answer(outcome, head=True)
    assert (head, nothing) == (line, b"")


def test_a_confirmed_message_is_204_without_a_length():
    line, headers, body = answer(Outcome.CONFIRMED, "")
    assert line == "HTTP/1.1 204 No Content"
    assert headers == {"date": DATE.decode(), "server": "statelessd", "x-request-id": "r-1"}
    assert body == b""


def test_some_outcomes_have_headers_of_their_own():
    _, headers, _ = answer(Outcome.UNAUTHORIZED)
    assert headers["www-authenticate"] == 'Basic realm="statelessd", charset="UTF-8"'
    _, headers, _ = answer(Outcome.METHOD_NOT_ALLOWED, allow="GET, HEAD")
    assert headers["allow"] == "GET, HEAD"
    _, headers, _ = answer(Outcome.UNKNOWN_CODING)
    assert headers["accept-encoding"] == "gzip, deflate, zstd, br"
    _, headers, _ = answer(Outcome.SHUTTING_DOWN, keep_alive=False)
    assert headers["connection"] == "close"


@pytest.mark.parametrize("outcome", CONTRACT, ids=lambda o: o.value)
def test_only_a_fault_of_ours_depends_on_whether_the_message_was_handed_over(outcome):
    unknown = CONTRACT[outcome][2] == "unknown"
    assert is_unknown(outcome) is unknown
    handed_over = unknown or outcome is Outcome.INTERNAL_ERROR
    assert is_unknown(outcome, handed_over=True) is handed_over
    _, _, body = answer(outcome, handed_over=True)
    assert json.loads(body)["outcome"] == ("unknown" if handed_over else "not-published")
