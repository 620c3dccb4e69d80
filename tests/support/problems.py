"""What every answer but 204 has to be."""

RETRYABLE = {"not-published": {True, False}, "unknown": {True}}


def is_problem(answer, status, kind, outcome="not-published"):
    """A problem document as the table has it; returned for a look at its detail."""
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
