"""The same random inputs every time, so that a failure is a change of the code; no clock, as machines are shared."""

from hypothesis import settings

settings.register_profile("undiffuse", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("undiffuse")
