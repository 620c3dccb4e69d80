"""What every answer has to be that is not a 204."""

RETRYABLE = {"not-published": {True, False}, "unknown": {True}}


def is_problem(answer, status, kind, outcome="not-published"):
    """Assert that the answer is this problem, and return its document."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    document = answer.json()
    assert (answer.status_code, document["type"], document["outcome"]) == (
        status,
        f"/docs#{kind}",
        outcome,
    ), document
    assert document["status"] == status
    assert document["retryable"] in RETRYABLE[outcome]
    assert document["detail"]
    if status in (429, 503):
        assert int(answer.headers["retry-after"]) > 0
    return document
