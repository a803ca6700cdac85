"""Settings of the property tests."""

from hypothesis import settings

# A slow machine is not a broken rule.
settings.register_profile("no_deadline", deadline=None)
settings.load_profile("no_deadline")
