"""``dashboard.html`` as it is before any script has run."""

import re
import time

from edge import edge_test

from statelessd.broker.figures import BrokerState, BrokerStatus
from statelessd.broker.logins import Login
from statelessd.message import TABLE, Outcome
from statelessd.pages.dashboard import POLICY

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def login(number, virtual_host="/", last_error=""):
    since, publishes = time.time() - 2 * 86_400, 815 + number
    state = ("connected", since, publishes, 2.5, 0, 1, 1, 0)
    return Login("1", virtual_host, f"user-{number}", *state, last_error)


async def page_of(edge, *logins):
    edge.publisher.logins = lambda backend: list(logins)
    answer = await edge.ask(GET)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    return answer.body.decode()


@edge_test()
async def test_without_scripts_there_are_plain_tables_with_escaped_names(edge):
    edge.publisher.broker = BrokerState(BrokerStatus.BLOCKED, "low on memory")
    logins = [
        login(number, "<script>alert(1)</script>", "\"'><img src=x>") for number in range(203)
    ]
    page = await page_of(edge, *logins)
    plain = page.partition("<noscript>")[2].partition("</noscript>")[0]
    assert "&lt;script&gt;alert(1)" in plain
    assert "<script>" not in page
    assert "<img" not in page
    assert ">816<" in plain
    assert plain.count("&lt;script&gt;") == 200
    assert "The first 200 of 203" in plain
    assert "state blocked, reason low on memory" in plain
    assert 'data-broker="blocked"' in page


@edge_test()
async def test_nothing_in_it_needs_what_its_policy_forbids(edge):
    page = await page_of(edge, login(1))
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", page)
    assert all(re.match(r'<script type="module" src="static/[^"]+"></script>', script)
               for script in re.findall(r"<script.*?</script>", page))  # fmt: skip


@edge_test()
async def test_every_file_that_it_loads_is_served(edge):
    page = await page_of(edge)
    names = re.findall(r'(?:src|href)="(static/[^"]+)"', page)
    assert names
    for name in names:
        assert (
            await edge.ask(b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % name.encode())
        ).status == 200


@edge_test()
async def test_each_problem_is_explained(edge):
    page = await page_of(edge)
    for outcome in TABLE:
        assert (f'<tr data-problem="{outcome.value}"' in page) == (outcome is not Outcome.CONFIRMED)


@edge_test()
async def test_it_shows_the_first_curl_line_until_something_is_published(edge):
    assert re.search(r'<section id="nothing"[^>]*(?<!hidden)>', await page_of(edge))


@edge_test()
async def test_what_it_suggests_reports_if_no_queue_takes_it(edge):
    page = await page_of(edge)
    line = re.search(r'<code id="first-line">(.*?)</code>', page)[1]
    assert "-d mandatory=true" in line
    assert line.endswith("/test/test/hello")
    assert re.search(r'<input name="mandatory"[^>]* checked>', page)
    assert re.search(r'<input name="virtual_host"[^>]* value="test"', page)
    assert re.search(r'<input name="exchange"[^>]* value="test"', page)
