"""What every unit test runs with."""

from hypothesis import settings

# A busy machine may take any time for one example; pytest's time-out bounds the whole test.
settings.register_profile("unit", deadline=None)
settings.load_profile("unit")
