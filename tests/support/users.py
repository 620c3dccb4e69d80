"""Users of a broker, and what they may do."""

from control import import_definitions


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
