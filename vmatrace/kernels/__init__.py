"""Which kernel has which features: every feature is kernels.FEATURE, every model a Kernel."""

from vmatrace.kernels.features import *  # noqa: F403 -- every feature is kernels.FEATURE to the others
from vmatrace.kernels.models import *  # noqa: F403
