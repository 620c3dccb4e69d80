"""Certificates for a scripted broker that speaks TLS."""

import pytest
from certificates import Authority

NAMES = ("localhost", "127.0.0.1")


@pytest.fixture
def authority(tmp_path):
    """Whom the gateway trusts."""
    return Authority(tmp_path, NAMES)


@pytest.fixture
def stranger(tmp_path):
    """Another one, for the same names."""
    return Authority(tmp_path / "stranger", NAMES)
