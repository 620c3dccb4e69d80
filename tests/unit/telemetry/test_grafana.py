"""deploy/grafana, deploy/prometheus and docs/reference/alerts.md: complete, and consistent."""

import re

import grafana
import pytest
import yaml

RULES = grafana.DEPLOY / "prometheus" / "statelessd.rules.yml"


@pytest.fixture(scope="module")
def dashboard():
    return grafana.load()


@pytest.fixture(scope="module")
def alerts():
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_each_panel_can_be_read(dashboard):
    titles = [panel["title"] for panel in grafana.panels(dashboard)]
    assert len(set(titles)) == len(titles)
    for panel in grafana.panels(dashboard):
        title = panel["title"]
        assert panel["description"].endswith("."), title
        assert panel["fieldConfig"]["defaults"]["unit"], title
        assert panel["datasource"]["uid"] == "${datasource}", title
        assert panel["targets"], title
        for target in panel["targets"]:
            assert target["expr"].strip(), title
            assert target["legendFormat"], title
            assert target["datasource"]["uid"] == "${datasource}", title


def test_variables_are_those_that_there_are(dashboard):
    declared = {variable["name"] for variable in dashboard["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", grafana.DASHBOARD.read_text()))
    own = {"__rate_interval", "__range", "__all"}
    assert used - own == declared == {"datasource", "job", "instance"}


def test_each_query_is_of_the_chosen_targets(dashboard):
    for title, expression in grafana.queries(dashboard):
        selectors = re.findall(r"\b(?:statelessd|process)_\w+(\{[^}]*\}|)", expression)
        for selector in selectors:
            if "__name__" not in expression:
                assert 'job="$job", instance=~"$instance"' in selector, title


def test_each_alert_tells_what_to_do(alerts):
    for alert in alerts:
        name, notes = alert["alert"], alert["annotations"]
        assert notes["runbook_url"] == f"docs/reference/alerts.md#{name.lower()}"
        assert alert["labels"]["severity"] in ("critical", "warning"), name
        assert notes["summary"], name
        assert notes["description"].endswith("."), name


def test_the_page_on_alerts_has_each_in_the_order_of_the_rules(alerts, pytestconfig):
    page = (pytestconfig.rootpath / "docs/reference/alerts.md").read_text()
    assert re.findall("^## (.+)$", page, re.MULTILINE) == [alert["alert"] for alert in alerts]
    for part in page.split("\n## ")[1:]:
        name = part.split("\n")[0]
        for what in ("Means", "Confirm", "Do", "Ignore"):
            assert part.count(f"\n**{what}.** ") == 1, (name, what)


def test_each_alert_is_seen_to_fire(alerts):
    tests = RULES.with_suffix(".test.yml").read_text()
    fired = set(re.findall(r'alertname="(\w+)"[^}]*}\', value: ', tests))
    fired |= set(re.findall(r"alertname: (\w+)\n\s+eval_time: \w+\n\s+exp_alerts:\n", tests))
    assert fired == {alert["alert"] for alert in alerts}
