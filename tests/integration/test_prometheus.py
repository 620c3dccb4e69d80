"""deploy/prometheus and deploy/grafana with a real Prometheus, and gateways under traffic."""

import collections
import re
import subprocess
import threading
import time

import grafana
import pytest
import requests
import yaml
from gateway import free_port, running
from prometheus_client.parser import text_string_to_metric_families as parse
from waiting import wait_until

PROMETHEUS = grafana.DEPLOY / "prometheus"
RULES = PROMETHEUS / "statelessd.rules.yml"
JOBS = ("statelessd", "statelessd-all")
METRIC = re.compile(r"\b(?:statelessd|process)_\w+")


def promtool(*arguments, **kwargs):
    return subprocess.run(
        ["promtool", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=PROMETHEUS,
        check=False,
        timeout=60,
        **kwargs,
    )


def both_jobs():
    """The example's configuration, with the job of all backends beside that of each port."""
    text = (PROMETHEUS / "prometheus.yml").read_text()
    first, start, second = text.partition("  # - job_name: statelessd-all\n")
    return first + re.sub("^  # ", "  ", start + second, flags=re.MULTILINE)


class Prometheus:
    """One that scrapes each second, with the example's configuration."""

    def __init__(self, directory, targets):
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._log = (directory / "prometheus.log").open("wb")
        config = yaml.safe_load(both_jobs())
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["rule_files"] = [str(RULES)]
        ports, everything = config["scrape_configs"]
        ports["static_configs"][0]["targets"] = targets
        everything["static_configs"][0]["targets"] = targets[:1]
        path = directory / "prometheus.yml"
        path.write_text(yaml.safe_dump(config))
        self._command = [
            "prometheus",
            f"--config.file={path}",
            f"--storage.tsdb.path={directory / 'prometheus'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=warn",
        ]

    def __enter__(self):
        self._process = subprocess.Popen(self._command, stdout=self._log, stderr=self._log)
        wait_until(self._ready, what="Prometheus to be ready")
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait(60)
        self._log.close()

    def _ready(self):
        assert self._process.poll() is None, "Prometheus ended"
        try:
            return requests.get(f"{self.url}/-/ready", timeout=5).ok
        except requests.ConnectionError:
            return False

    def get(self, path, **parameters):
        answer = requests.get(f"{self.url}/api/v1/{path}", params=parameters, timeout=10).json()
        assert answer["status"] == "success", (parameters, answer)
        return answer["data"]

    def query(self, expression):
        """Labels to value, now."""
        found = self.get("query", query=expression)["result"]
        return {tuple(each["metric"].values()): float(each["value"][1]) for each in found}

    def picture(self, expression, since):
        """The numbers that a panel would show."""
        data = self.get("query_range", query=expression, start=since, end=time.time(), step=1)
        series = [each["values"] for each in data["result"]]
        return [value for values in series for _, value in values if value != "NaN"]


class Traffic(threading.Thread):
    """All kinds of it, to two backends in turn, until stopped; ``sent``: outcomes of messages."""

    def __init__(self, gateway, exchange):
        super().__init__()
        self._gateway = gateway
        self._exchange = exchange
        self._stopping = threading.Event()
        self.sent = collections.Counter()

    def run(self):
        while not self._stopping.wait(0.05):
            for port in self._gateway.ports:
                self._round(self._gateway.url_of(port))

    def stop(self):
        self._stopping.set()
        self.join()

    def counts(self):
        """As Prometheus answers."""
        return {(outcome,): count for outcome, count in self.sent.items()}

    def _round(self, url):
        good = f"{url}/test/{self._exchange}"
        self._post("confirmed", 204, f"{good}/k")
        self._post("confirmed", 204, f"{good}/k")
        self._post("exchange-not-found", 404, f"{url}/test/no-such-exchange/k")
        self._post("unauthorized", 401, f"{good}/k", auth=("guest", "wrong"))
        self._post("no-route", 404, f"{url}/test/amq.topic/k", mandatory="true")
        items = [{"routing_key": "k", "body": "x"}] * 3
        answer = requests.post(good, json=items, auth=("guest", "guest"), timeout=20)
        self.sent["confirmed"] += answer.json()["published"]

    def _post(self, outcome, status, url, auth=("guest", "guest"), **fields):
        answer = requests.post(url, data={"body": "x", **fields}, auth=auth, timeout=20)
        assert answer.status_code == status, answer.text
        self.sent[outcome] += 1


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, broker):
    """Two backends, which count exchanges and ask the broker about each wrong password."""
    settings = {"Application": {"metrics": {"exchanges": 10}, "rabbitmq": {"refused_for": 0}}}
    with running(tmp_path_factory.mktemp("gateway"), broker, settings, ports=2) as started:
        yield started


@pytest.fixture
def scraped(gateway):
    """What /metrics tells of one backend, and of all."""

    def scrape(scope):
        return requests.get(f"{gateway.url}/metrics{scope}", timeout=5).text

    wait_until(lambda: scrape("?scope=all").count("statelessd_draining{") == 2, what="both")
    return {"one": scrape(""), "all": scrape("?scope=all")}


def test_the_rules_and_the_configuration_are_valid(tmp_path):
    for kind, text in [("rules", RULES.read_text()), ("config", both_jobs())]:
        (tmp_path / RULES.name).write_text(RULES.read_text())
        (tmp_path / "checked.yml").write_text(text)
        done = promtool("check", kind, tmp_path / "checked.yml")
        assert (done.returncode, "SUCCESS" in done.stdout) == (0, True), done.stdout
    assert promtool("check", "config", "prometheus.yml").returncode == 0


def test_the_alerts_fire_when_they_should_and_not_before():
    done = promtool("test", "rules", "statelessd.rules.test.yml")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("scope", ["one", "all"])
def test_promtool_has_nothing_to_say_about_the_metrics(scraped, scope):
    done = promtool("check", "metrics", input=scraped[scope])
    assert (done.returncode, done.stdout) == (0, "")


def test_whatever_is_asked_for_is_told_and_whatever_is_told_is_explained(scraped, pytestconfig):
    families = [family for text in scraped.values() for family in parse(text)]
    names = {sample.name for family in families for sample in family.samples}
    names.add("statelessd_exchange_publishes_total")  # once there is one
    expressions = [expression for _, expression in grafana.queries(grafana.load())]
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        expressions += [rule["expr"] for rule in group["rules"]]
    asked_for = set(METRIC.findall(" ".join(expressions)))
    assert asked_for - names == set()
    page = (pytestconfig.rootpath / "docs/reference/metrics.md").read_text()
    explained = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    told = {f.name + ("_total" if f.type == "counter" else "") for f in families}
    assert told - explained == set()


def test_each_panel_has_data_and_the_numbers_are_right(gateway, queue, tmp_path):
    targets = [f"127.0.0.1:{port}" for port in gateway.ports]
    instances = {"statelessd": targets, "statelessd-all": targets[:1]}
    dashboard = grafana.load()
    missing = {
        (job, title, grafana.filled_in(expression, job=job, instances=instances[job]))
        for job in JOBS
        for title, expression in grafana.queries(dashboard)
    }
    with Prometheus(tmp_path, targets) as prometheus:
        since = time.time()
        traffic = Traffic(gateway, queue.name)
        traffic.start()
        try:

            def all_have_data():
                missing.difference_update(
                    [each for each in missing if prometheus.picture(each[2], since)]
                )
                return not missing

            deadline = time.monotonic() + 30
            while not all_have_data():
                assert time.monotonic() < deadline, sorted(missing)
        finally:
            traffic.stop()
        for job in JOBS:
            selector = f'statelessd_publishes_total{{job="{job}"}}'
            query = f"sum by (outcome) ({selector}) > 0"
            wait_until(lambda q=query: prometheus.query(q) == traffic.counts(), what=query)
        _variables_have_values(prometheus, dashboard)
        prometheus.get("query", query=_annotation(dashboard, targets))
        _rules_are_well(prometheus)


def _variables_have_values(prometheus, dashboard):
    _, job, instance = dashboard["templating"]["list"]
    found = {}
    for variable in (job, instance):
        text = variable["query"]["query"].replace("$job", "statelessd")
        selector, label = re.fullmatch(r"label_values\((.*), (\w+)\)", text).groups()
        found[label] = prometheus.get(f"label/{label}/values", **{"match[]": selector})
    assert found["job"] == list(JOBS)
    assert len(found["instance"]) == 2


def _annotation(dashboard, targets):
    [annotation] = dashboard["annotations"]["list"]
    return grafana.filled_in(annotation["expr"], job="statelessd", instances=targets)


def _rules_are_well(prometheus):
    """None fails to be evaluated, and none fires: what was wrong were requests, and for seconds."""
    [group] = prometheus.get("rules")["groups"]
    assert {rule["health"] for rule in group["rules"]} == {"ok"}
    assert [rule["name"] for rule in group["rules"] if rule["state"] == "firing"] == []
