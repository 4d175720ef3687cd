"""Settings shared by all tests: hypothesis profiles, no windows from matplotlib, and FAD_CHECK: what the compiler leaves to NumPy
because of an error of its own is an error here.

Profiles, chosen by HYPOTHESIS_PROFILE:
    dev       the default: random, so that every run searches somewhere new
    ci        derandomised, so that a red run is red again on the same commit
    thorough  for an overnight search
"""

import os

from hypothesis import HealthCheck, settings

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("FAD_CHECK", "1")

# No deadline anywhere: the first call of a kernel compiles it, and machines are shared.
common = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("dev", max_examples=50, **common)
settings.register_profile("ci", max_examples=50, derandomize=True, print_blob=True, **common)
settings.register_profile("thorough", max_examples=5000, **common)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))

from fad.primitives import load_primitives  # noqa: E402

load_primitives()  # the laws are about every record

from tests.guards import child, fence, guarded  # noqa: E402, F401  # fixtures
