"""The description is valid, complete, and says what the code says."""

import json
import re

import jsonschema
import pytest
from edge import edge_test
from openapi_spec_validator import OpenAPIV31SpecValidator

from statelessd.config.webhook_files import read_files
from statelessd.config.webhooks import Verify, Webhook
from statelessd.gateway.webhook import WebhookEndpoints
from statelessd.message import TABLE, Outcome, Properties, problem
from statelessd.pages import app
from statelessd.pages.openapi_document import document, webhooks

HOOK = Webhook(name="hook", path="/secret-path", username="u", verify=Verify(scheme="none"))
ENDPOINTS = WebhookEndpoints.of([HOOK], read_files([HOOK]))
DOCUMENT = json.loads(json.dumps(document() | {"webhooks": webhooks(ENDPOINTS)}))
PROBLEMS = [outcome for outcome in Outcome if outcome is not Outcome.CONFIRMED]


def get(path):
    return b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path


def operations():
    for path, methods in (DOCUMENT["paths"] | DOCUMENT["webhooks"]).items():
        for method, operation in methods.items():
            if method != "parameters":
                yield path, method, operation


def contents(schema):
    """Every media type object below."""
    if isinstance(schema, dict):
        for name, value in schema.items():
            if name == "content":
                yield from value.values()
            yield from contents(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from contents(value)


def is_valid(schema, value):
    whole = {**schema, "components": DOCUMENT["components"]}
    jsonschema.Draft202012Validator(whole).validate(value)


@edge_test(webhooks=[HOOK])
async def test_webhook_endpoints_are_described_without_their_paths(edge):
    described = await edge.ask(get(b"/openapi.json"))
    assert "hook" in json.loads(described.body)["webhooks"]
    docs = await edge.ask(get(b"/docs"))
    assert b"<code>hook</code>" in docs.body
    assert b"secret-path" not in docs.body + described.body


def test_it_is_valid():
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_every_example_fits_its_schema():
    count = 0
    for content in contents(DOCUMENT["paths"]):
        examples = [each["value"] for each in content.get("examples", {}).values()]
        examples += [content["example"]] if "example" in content else []
        for example in examples:
            is_valid(content["schema"], example)
            count += 1
    assert count > 50


@pytest.mark.parametrize("outcome", PROBLEMS, ids=lambda outcome: outcome.value)
def test_every_outcome_is_described_under_its_status(outcome):
    status = str(TABLE[outcome].status)
    found = [
        operation["responses"][status]["content"]["application/problem+json"]["examples"]
        for _, _, operation in operations()
        if status in operation["responses"]
    ]
    example = next(each[outcome.value]["value"] for each in found if outcome.value in each)
    assert example["type"] == problem(outcome, "").type
    assert example["retryable"] is TABLE[outcome].retryable
    is_valid(DOCUMENT["components"]["schemas"]["Problem"], example)


def test_every_property_is_described_everywhere():
    publish = DOCUMENT["paths"]["/{virtual_host}/{exchange}/{routing_key}"]["post"]
    named = {(p["in"], p["name"]) for p in publish["parameters"]}
    schemas = DOCUMENT["components"]["schemas"]
    for name in Properties.__annotations__:
        assert ("query", name) in named
        assert ("header", f"AMQP-{name.replace('_', '-').title()}") in named
        assert name in schemas["Form"]["properties"]
        assert name in schemas["Item"]["properties"]


@edge_test()
async def test_every_page_is_described_and_every_description_is_there(edge):
    described = set(DOCUMENT["paths"])
    router = edge.gateway.router
    for path in described:
        match = router.match(re.sub(r"\{.*?\}", "x", path).encode())
        assert match.publishes or match.page is not None
    samples = {re.sub(r"\{.*?\}", "x", path) for path in described}
    for pattern in [*(p for p, _ in app.BUILT_IN_ROUTES), *(p for p, _ in app.PAGES), "/static/.+"]:
        assert any(re.fullmatch(pattern, sample) for sample in samples), pattern


@edge_test()
async def test_a_file_that_has_not_changed_is_described(edge):
    request = get(b"/static/statelessd.css")
    tag = (await edge.ask(request)).headers["etag"].encode()
    again = request.replace(b"\r\n\r\n", b"\r\nIf-None-Match: %b\r\n\r\n" % tag)
    status = (await edge.ask(again)).status
    assert status == 304
    assert str(status) in DOCUMENT["paths"]["/static/{file}"]["get"]["responses"]


@edge_test(webhooks=[HOOK])
async def test_it_is_served(edge):
    answer = await edge.ask(get(b"/openapi.json"))
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.body) == DOCUMENT


@edge_test()
async def test_every_problem_type_leads_to_a_section(edge):
    answer = await edge.ask(get(b"/docs"))
    page = answer.body.decode()
    ids = re.findall(r' id="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    for outcome in PROBLEMS:
        path, _, section = problem(outcome, "").type.partition("#")
        assert path == "/docs"
        assert section in ids
        assert TABLE[outcome].title in page.replace("&#39;", "'")
    assert set(re.findall(r'href="#([^"]*)"', page)) <= set(ids)


@edge_test()
async def test_the_page_loads_nothing_from_outside(edge):
    answer = await edge.ask(get(b"/docs"))
    page = answer.body.decode()
    assert "<script" not in page
    assert "style=" not in page
    for target in re.findall(r'(?:src|href|action)="([^"]*)"', page):
        assert not re.match(r"/|[a-z]+:", target)  # else it fails below a path of a proxy's
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_the_examples_of_messages_report_if_no_queue_takes_them():
    def examples(path):
        content = DOCUMENT["paths"][path]["post"]["requestBody"]["content"]
        return {name: each["example"] for name, each in content.items() if "example" in each}

    single = examples("/{virtual_host}/{exchange}/{routing_key}")
    assert single["application/x-www-form-urlencoded"]["mandatory"] == "true"
    batch = examples("/{virtual_host}/{exchange}")
    assert all(item["mandatory"] for item in batch["application/json"])
    assert json.loads(batch["application/x-ndjson"])["mandatory"]


@edge_test()
async def test_the_documentation_links_to_the_dashboard(edge):
    docs = (await edge.ask(get(b"/docs"))).body.decode()
    assert '<a href=".">Dashboard</a>' in docs
