"""HTTP in, RabbitMQ out: one POST becomes one confirmed message."""

__version__ = "1.0.0.dev0"
