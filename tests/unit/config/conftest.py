"""What the tests of the configuration share: a file in a directory of its own."""

import pytest


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes the configuration file, in the working directory."""
    monkeypatch.chdir(tmp_path)

    def write(text):
        path = tmp_path / "statelessd.yml"
        path.write_text(text)
        return path

    return write
