"""The container files agree with each other, with the project, and with the gateway's settings."""

import fnmatch
import json
import os
import re
import subprocess
import sys

import pytest
import yaml

CLOSING = 3  # seconds for closing the connections after HTTPServer.drain_timeout
CONTAINERFILES = ["Containerfile", "deploy/Containerfile.debian"]


def instructions(text):
    """Return the instructions of a Containerfile as pairs of a name and the rest of the line."""
    lines = [each for each in text.splitlines() if not each.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [tuple(each.split(maxsplit=1)) for each in joined.splitlines() if each]


@pytest.fixture
def root(pytestconfig):
    return pytestconfig.rootpath


@pytest.fixture
def compose(root):
    return yaml.safe_load((root / "compose.yaml").read_text())["services"]


@pytest.fixture
def kubernetes(root):
    """The manifests by kind."""
    files = (root / "deploy" / "kubernetes").glob("*.yaml")
    documents = [each for file in files for each in yaml.safe_load_all(file.read_text())]
    return {each["kind"]: each for each in documents}


@pytest.fixture
def pod(kubernetes):
    return kubernetes["Deployment"]["spec"]["template"]["spec"]


@pytest.fixture
def configuration(kubernetes, tmp_path):
    """The file that the ConfigMap mounts."""
    file = tmp_path / "statelessd.yml"
    file.write_text(kubernetes["ConfigMap"]["data"]["statelessd.yml"])
    return file


def statelessd(*arguments, **environment):
    kept = {k: v for k, v in os.environ.items() if not k.startswith("STATELESSD_")}
    command = [sys.executable, "-m", "statelessd", *map(str, arguments)]
    done = subprocess.run(
        command, env=kept | environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("file", CONTAINERFILES)
def test_images_run_and_check_the_same_program_as_a_numeric_user(root, file):
    found = dict(instructions((root / file).read_text()))
    user, _, group = found["USER"].partition(":")
    assert int(user) >= 10000
    assert int(group) >= 10000
    assert found["STOPSIGNAL"] == "SIGTERM"
    assert found["EXPOSE"] == "8000"
    program, *arguments = json.loads(found["ENTRYPOINT"])
    assert program == "/opt/statelessd/bin/statelessd"
    assert arguments == ["-c", "/etc/statelessd/statelessd.yml"]
    python, _, code = json.loads(found["HEALTHCHECK"].partition("CMD ")[2])
    assert python == "/opt/statelessd/bin/python"
    compile(code, file, "exec")


def test_what_the_image_copies_exists_and_is_in_the_context(root):
    ignored = (root / ".dockerignore").read_text().splitlines()
    let_in = {each.removeprefix("!") for each in ignored if each.startswith("!")}
    copied = set()
    for name, rest in instructions((root / "Containerfile").read_text()):
        if name == "COPY" and not rest.startswith("--from"):
            copied |= set(rest.split()[:-1])
    assert "*" in ignored
    assert copied == let_in
    assert [each for each in copied if not (root / each).exists()] == []
    assert any(fnmatch.fnmatch("src/statelessd/__pycache__", each) for each in ignored[1:])


def test_compose_runs_the_health_check_of_the_image(root, compose):
    found = dict(instructions((root / "Containerfile").read_text()))
    command = json.loads(found["HEALTHCHECK"].partition("CMD ")[2])
    assert compose["gateway"]["healthcheck"]["test"] == ["CMD", *command]


def test_compose_sets_settings_that_exist(compose):
    status, said = statelessd("--print-config", **compose["gateway"]["environment"])
    assert status == 0, said
    assert "rabbitmq" in said


def test_compose_publishes_ports_to_this_machine_only(compose):
    ports = [port for service in compose.values() for port in service.get("ports", [])]
    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_compose_wants_a_password(root, compose):
    needed = "${RABBITMQ_PASSWORD:?"
    assert compose["rabbitmq"]["environment"]["RABBITMQ_DEFAULT_PASS"].startswith(needed)
    sample = (root / ".env.example").read_text()
    assert re.search(r"^RABBITMQ_PASSWORD=$", sample, re.MULTILINE)
    named = set(re.findall(r"^(\w+)=", sample, re.MULTILINE))
    assert set(re.findall(r"\$\{(\w+)", (root / "compose.yaml").read_text())) == named


def test_compose_tells_rabbitmq_how_much_memory_it_has(root, compose):
    """It looks at the host's memory, and would be killed before it blocks publishers."""
    [mounted] = [each for each in compose["rabbitmq"]["volumes"] if "/etc/rabbitmq/" in each]
    told = (root / mounted.partition(":")[0]).read_text()
    [value] = re.findall(r"^total_memory_available_override_value = (\d+)GiB$", told, re.MULTILINE)
    assert compose["rabbitmq"]["mem_limit"] == f"{value}g"


def test_compose_starts_on_a_host_with_one_processor(compose):
    assert all(service["cpus"] <= 1 for service in compose.values())


def test_compose_waits_for_a_drain(compose):
    gateway = compose["gateway"]
    assert drain_timeout(gateway["environment"]) + CLOSING < seconds(gateway["stop_grace_period"])


def drain_timeout(environment, *arguments):
    """Return the setting in effect."""
    status, said = statelessd("--print-config", *arguments, **environment)
    assert status == 0, said
    return float(re.search(r"drain_timeout: ([\d.]+)", said)[1])


def seconds(text):
    return float(text.removesuffix("s"))


def test_the_configuration_in_the_config_map_is_valid(pod, configuration):
    names = [each["name"] for each in pod["containers"][0]["env"]]
    status, said = statelessd("--check-config", "-c", configuration, **dict.fromkeys(names, "x"))
    assert status == 0, said
    assert "The configuration is valid." in said


def test_pods_listen_where_probes_services_and_policies_connect(kubernetes, pod, configuration):
    settings = yaml.safe_load(configuration.read_text())["HTTPServer"]
    container = pod["containers"][0]
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert settings["ports"] == [ports["http"]]
    assert settings["pages"]["listener"] == ports["pages"]
    assert settings["address"] == ""
    probes = {k: v["httpGet"] for k, v in container.items() if k.endswith("Probe")}
    assert {probe["port"] for probe in probes.values()} == {"http"}
    assert {k: v["path"] for k, v in probes.items()} == {
        "startupProbe": "/healthz",
        "livenessProbe": "/healthz",
        "readinessProbe": "/readyz",
    }
    assert {each["targetPort"] for each in kubernetes["Service"]["spec"]["ports"]} == {"http"}
    policy = kubernetes["NetworkPolicy"]["spec"]
    admitted = {port["port"] for rule in policy["ingress"] for port in rule["ports"]}
    assert admitted == {"http", "pages"}
    template = kubernetes["Deployment"]["spec"]["template"]["metadata"]
    assert template["annotations"]["prometheus.io/port"] == str(ports["pages"])


def test_everything_selects_the_pods(kubernetes):
    deployment = kubernetes["Deployment"]["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    assert deployment["selector"]["matchLabels"] == labels
    assert kubernetes["Service"]["spec"]["selector"] == labels
    assert kubernetes["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert kubernetes["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == labels
    spread = deployment["template"]["spec"]["topologySpreadConstraints"]
    assert [each["labelSelector"]["matchLabels"] for each in spread] == [labels] * len(spread)


def test_pods_have_time_for_a_drain(pod, configuration):
    before = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    drain = drain_timeout({}, "-c", configuration)
    assert before + drain + CLOSING < pod["terminationGracePeriodSeconds"]


def test_pods_run_as_the_user_of_the_image_without_rights(root, pod):
    user = dict(instructions((root / "Containerfile").read_text()))["USER"]
    security = pod["securityContext"]
    assert f"{security['runAsUser']}:{security['runAsGroup']}" == user
    assert security["runAsNonRoot"]
    assert not pod["enableServiceLinks"]
    assert not pod["automountServiceAccountToken"]
    assert pod["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_pods_read_the_secret_and_the_config_map_that_are_there(kubernetes, pod):
    secret, config_map = kubernetes["Secret"], kubernetes["ConfigMap"]
    for each in pod["containers"][0]["env"]:
        reference = each["valueFrom"]["secretKeyRef"]
        assert reference["name"] == secret["metadata"]["name"]
        assert reference["key"] in secret["stringData"]
    assert pod["volumes"][0]["configMap"]["name"] == config_map["metadata"]["name"]
    assert pod["containers"][0]["volumeMounts"][0]["mountPath"] == "/etc/statelessd"


def test_kustomize_applies_all_but_the_sample_of_the_secret(root, kubernetes):
    files = {each.name for each in (root / "deploy" / "kubernetes").glob("*.yaml")}
    listed = set(kubernetes["Kustomization"]["resources"])
    assert files - listed == {"kustomization.yaml", "secret.yaml"}
    image = kubernetes["Deployment"]["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image.partition(":")[0] == kubernetes["Kustomization"]["images"][0]["name"]
