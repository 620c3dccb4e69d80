"""A Django project with one application, which keeps orders in SQLite."""

import os
import sys

from django.conf import settings
from django.core.management import execute_from_command_line

settings.configure(
    SECRET_KEY="not one",
    ALLOWED_HOSTS=["127.0.0.1"],
    INSTALLED_APPS=["shop"],
    ROOT_URLCONF="shop.views",
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.environ["DATABASE"],
            "ATOMIC_REQUESTS": True,
        }
    },
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    STATELESSD_URL=os.environ["STATELESSD_URL"],
    STATELESSD_AUTH=os.environ["STATELESSD_AUTH"],
)

execute_from_command_line(sys.argv)
