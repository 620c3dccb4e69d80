"""The check of the Kubernetes manifests finds mistakes. ``make lint`` runs these tests."""

import copy
from pathlib import Path

import pytest
import yaml

import containers

MANIFESTS = Path(__file__).parents[2] / "deploy" / "kubernetes"


@pytest.fixture
def kubernetes():
    """The manifests by kind."""
    documents = [
        each for file in MANIFESTS.glob("*.yaml") for each in yaml.safe_load_all(file.read_text())
    ]
    return {each["kind"]: each for each in documents}


def test_the_manifests_are_checked_against_every_kubernetes_since_1_30():
    versions = containers.kubernetes_versions()
    assert versions[0] == "1.30"
    assert len(versions) >= 8


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("Deployment", ["spec", "template", "spec", "enableServiceLink"], False),
        ("Deployment", ["spec", "replicas"], "two"),
        ("Service", ["spec", "ports", 0, "port"], "http"),
        ("ConfigMap", ["data", "number"], 1),
        ("Secret", ["stringdata"], {}),
        ("PodDisruptionBudget", ["spec", "maxUnavailable"], []),
        ("NetworkPolicy", ["spec", "egress", 0, "port"], 53),
    ],
)
def test_a_mistake_in_a_manifest_is_found(kubernetes, kind, path, value):
    manifest = copy.deepcopy(kubernetes[kind])
    *parents, last = path
    place = manifest
    for each in parents:
        place = place[each]
    place[last] = value
    found = containers.wrong_with(manifest, ["1.30"])
    assert [each.split(":")[0] for each in found] == ["Kubernetes 1.30"]


def test_an_unknown_kind_of_manifest_is_found(kubernetes):
    assert containers.wrong_with(kubernetes["Service"] | {"apiVersion": "v2"}, ["1.30"])
