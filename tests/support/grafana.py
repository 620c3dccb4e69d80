"""deploy/grafana/statelessd.json, and its queries as Grafana would send them."""

import json
from pathlib import Path

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD = DEPLOY / "grafana" / "statelessd.json"


def load():
    return json.loads(DASHBOARD.read_text())


def panels(dashboard):
    """Return the panels that show something, not the rows."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def queries(dashboard):
    """Return each panel's title with each of its queries."""
    return [(p["title"], target["expr"]) for p in panels(dashboard) for target in p["targets"]]


def filled_in(expression, *, job, instances, scrape_interval=1):
    """Return the expression with values for its variables, as for a picture of an hour."""
    # Within a PromQL string a backslash is written twice.
    escaped = [instance.replace(".", r"\\.") for instance in instances]
    values = {
        "$__rate_interval": f"{4 * scrape_interval}s",
        "$__range": "3600s",
        "$job": job,
        "$instance": f"({'|'.join(escaped)})",
    }
    for name, value in values.items():
        expression = expression.replace(name, value)
    assert "$" not in expression, expression
    return expression
