"""What the loader says of a configuration that is wrong."""

import pytest

from statelessd.config.loader import ConfigError, load


def errors(path, environment=None):
    """Return all that is wrong with a file and an environment."""
    with pytest.raises(ConfigError) as error:
        load(path, environment or {})
    return error.value.errors
