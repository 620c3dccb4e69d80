"""HTTP in, RabbitMQ out: one POST becomes one confirmed message.

The names that the ``Routes`` of a configuration use (``statelessd.Publisher``) are
names of the configuration only: ``config.loader`` maps them to classes.
"""

from .version import __version__

__all__ = ["__version__"]
