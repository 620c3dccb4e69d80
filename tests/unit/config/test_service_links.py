"""Kubernetes' variables for a Service named statelessd are not settings, and no typo of one is."""

import pytest

from statelessd.config.loader import ConfigError, environment_name, leaves, load
from statelessd.config.service_links import is_service_link
from statelessd.config.settings import SECTIONS


def links_of(service, address="10.0.0.1", ports=((8000, "tcp", "http"), (53, "udp", "dns-2"))):
    """Return what the kubelet makes of a Service (pkg/kubelet/envvars of Kubernetes)."""
    name = service.upper().replace("-", "_")
    host = f"[{address}]" if ":" in address else address
    first, protocol, _ = ports[0]
    found = {
        f"{name}_SERVICE_HOST": address,
        f"{name}_SERVICE_PORT": f"{first}",
        f"{name}_PORT": f"{protocol}://{host}:{first}",
    }
    for port, protocol, label in ports:
        prefix = f"{name}_PORT_{port}_{protocol.upper()}"
        found |= {
            f"{name}_SERVICE_PORT_{label.upper().replace('-', '_')}": f"{port}",
            prefix: f"{protocol}://{host}:{port}",
            f"{prefix}_PROTO": protocol,
            f"{prefix}_PORT": f"{port}",
            f"{prefix}_ADDR": address,
        }
    return found


SERVICES = [
    "statelessd",
    "statelessd-http",
    "statelessd-2",
    "statelessd-httpserver",
    "statelessd-a-b",
]


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize(
    "options", [{}, {"address": "fd00::1"}, {"ports": [(9999, "sctp", "x"), (1, "tcp", "y")]}]
)
def test_the_links_of_a_service_are_ignored(service, options):
    loaded = load(None, links_of(service, **options))
    assert loaded == load(None, {})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "8000"),
        ("PORT", "http://10.0.0.1:8000"),
        ("PORT", "tcp://10.0.0.1"),
        ("PORT", "tcp://10.0.0.1:0"),
        ("PORT", "tcp://u:p@10.0.0.1:8000"),
        ("PORT", "tcp://example.com:8000"),
        ("PORTS", "tcp://10.0.0.1:8000"),
        ("SERVICE_HOST", "example.com"),
        ("SERVICE_HOST", ""),
        ("SERVICE_HOSTS", "10.0.0.1"),
        ("SERVICE_PORT", "http"),
        ("SERVICE_PORT", "65536"),
        ("SERVICE_PORT_", "8000"),
        ("_SERVICE_PORT", "8000"),
        ("PORT_8000_TCP", "tcp://10.0.0.1:8001"),
        ("PORT_8000_TCP", "udp://10.0.0.1:8000"),
        ("PORT_8000_TCP_PORT", "8001"),
        ("PORT_8000_TCP_PROTO", "udp"),
        ("PORT_8000_TCP_ADDR", "here"),
        ("PORT_8000_ICMP", "icmp://10.0.0.1:8000"),
        ("PORT_99999_TCP_PROTO", "tcp"),
        ("APPLICATION_RABBITMQ_HOSST", "10.0.0.1"),
        ("APPLICATION_RABBITMQ_PROT", "5672"),
        ("http_PORT", "tcp://10.0.0.1:8000"),
    ],
)
def test_anything_else_with_the_prefix_is_a_mistake(name, value):
    with pytest.raises(ConfigError, match=f"unknown setting STATELESSD_{name}"):
        load(None, {f"STATELESSD_{name}": value})


def test_a_link_with_the_name_of_a_setting_is_not_that_setting():
    links = links_of("statelessd-application-rabbitmq", ports=[(5672, "tcp", "amqp")])
    loaded = load(None, links)
    assert loaded.config == load(None, {}).config
    variable = "STATELESSD_APPLICATION_RABBITMQ_PORT"
    assert loaded.warnings == [
        f"environment: {variable}: ignored as Application.rabbitmq.port, because it is a service "
        "link of Kubernetes"
    ]
    # With the pod's own value, which is stronger than a link, it is the setting.
    assert load(None, {**links, variable: "5673"}).config.application.rabbitmq.port == 5673


@pytest.mark.parametrize("value", ["10.0.0.1", "5672", "tcp", "tcp://10.0.0.1:5672"])
def test_no_value_that_a_setting_takes_is_a_link(value):
    names = {environment_name(p) for s, (_, cls) in SECTIONS.items() for p, _, _ in leaves(cls, s)}
    taken = {name for name in names if is_service_link(name, value)}
    assert taken == ({"STATELESSD_APPLICATION_RABBITMQ_PORT"} if "://" in value else set())
