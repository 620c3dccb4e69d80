"""Declares what compose.yaml's first message needs, over RabbitMQ's management API.

It runs in the gateway's image, and so uses nothing but Python. Running it again is harmless.
"""

import base64
import json
import os
import urllib.request
from pathlib import Path

DEFINITIONS = Path(__file__).with_name("definitions.json")
VIRTUAL_HOST = "test"  # RABBITMQ_DEFAULT_VHOST of the broker


def main() -> None:
    """Import the definitions. Raise urllib.error.URLError if the broker does not take them."""
    user, password = os.environ["RABBITMQ_USER"], os.environ["RABBITMQ_PASSWORD"]
    token = base64.b64encode(f"{user}:{password}".encode()).decode()
    request = urllib.request.Request(
        f"{os.environ['MANAGEMENT_URL']}/api/definitions/{VIRTUAL_HOST}",
        data=DEFINITIONS.read_bytes(),
        headers={"Authorization": f"Basic {token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30):
        queues = [each["name"] for each in json.loads(DEFINITIONS.read_text())["queues"]]
    print(f"declared in the virtual host {VIRTUAL_HOST}: queue {', '.join(queues)}")


if __name__ == "__main__":
    main()
