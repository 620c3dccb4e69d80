"""The asyncio shell around ``amqp``: connections to RabbitMQ, and one publish after the other."""
