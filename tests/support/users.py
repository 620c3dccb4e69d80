"""Users of a broker, and whatever else is declared by rabbitmqctl."""

import json
import tempfile


def import_definitions(broker, definitions):
    """Declare all of it by one call of rabbitmqctl, which takes a second."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(definitions, file)
        file.flush()
        broker.ctl("import_definitions", file.name)


def add_users(
    broker, passwords, *, virtual_host="test", configure="", write=".*", read="", topics=None
):
    """Add users by name, with what they may do.

    ``topics``: for an exchange, a pattern of the routing keys that they may write to.
    """
    of_each = [{"user": name, "vhost": virtual_host} for name in passwords]
    rights = {"configure": configure, "write": write, "read": read}
    definitions = {
        "users": [
            {"name": name, "password": password, "tags": ""} for name, password in passwords.items()
        ],
        "permissions": [each | rights for each in of_each],
        "topic_permissions": [
            each | {"exchange": exchange, "write": pattern, "read": pattern}
            for exchange, pattern in (topics or {}).items()
            for each in of_each
        ],
    }
    import_definitions(broker, definitions)
