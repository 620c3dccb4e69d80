"""Few examples and always the same in ``make test``; many and new ones in ``make fuzz``."""

import os

from hypothesis import HealthCheck, settings

# Building a connection for each example is what these tests are about, not slowness.
_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("suite", max_examples=60, derandomize=True, **_COMMON)
settings.register_profile("fuzz", max_examples=500, database=None, print_blob=True, **_COMMON)
settings.load_profile("fuzz" if "FUZZ" in os.environ else "suite")
