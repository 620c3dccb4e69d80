"""What rabbitmqctl does to a running broker, without the second of CPU time of its start."""

import json

ACTOR = '<<"tests">>'  # who did it, for RabbitMQ's log


def binary(text):
    """Return the Erlang binary of a text."""
    return f"<<{','.join(map(str, text.encode()))}>>"


def done(broker, function, *arguments):
    """Call a function of the broker; arguments are Erlang terms. It has to return ok."""
    told = broker.evaluate(f"{function}({', '.join(arguments)}).")
    assert told == "ok", f"{function}: {told}"


def _of_users(broker, function, *arguments):
    done(broker, f"rabbit_auth_backend_internal:{function}", *map(binary, arguments), ACTOR)


def import_definitions(broker, definitions):
    done(broker, "rabbit_definitions:import_raw", binary(json.dumps(definitions)))


def change_password(broker, user, password):
    _of_users(broker, "change_password", user, password)


def delete_user(broker, user):
    _of_users(broker, "delete_user", user)


def limit_user(broker, user, **limits):
    """Set limits such as ``max_channels``."""
    named = {name.replace("_", "-"): limit for name, limit in limits.items()}
    _of_users(broker, "set_user_limits", user, json.dumps(named))


def permit_writing(broker, user, pattern, virtual_host="test"):
    """Let the user write to what matches the pattern, and do nothing else."""
    _of_users(broker, "set_permissions", user, virtual_host, "", pattern, "")


def limit_memory(broker, limit="0.4"):
    """Set the part of the memory, or ``{absolute, bytes}``, that is left before the alarm."""
    done(broker, "vm_memory_monitor:set_vm_memory_high_watermark", limit)


def use_up_memory(broker):
    """Let the broker find that it has too little memory."""
    limit_memory(broker, "{absolute, 1000000}")


def limit_disk(broker, limit="50MB"):
    """Set how much of the disk has to be free."""
    done(broker, "rabbit_disk_monitor:set_disk_free_limit", f'"{limit}"')


def use_up_disk(broker):
    """Let the broker find that its disk is too full."""
    limit_disk(broker, "100000GB")


def has_connections(broker):
    return broker.evaluate("rabbit_networking:connections().") != "[]"


def close_all_connections(broker, reason):
    pids = "rabbit_networking:connections()"
    done(broker, "rabbit_networking:close_connections", pids, f'"{reason}"')


def version(broker):
    """Return RabbitMQ's major and minor version."""
    return tuple(map(int, broker.evaluate("rabbit_misc:version().").strip('"').split(".")[:2]))
