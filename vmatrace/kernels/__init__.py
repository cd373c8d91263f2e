"""Which kernel has which features: every feature is kernels.FEATURE, every model a Kernel."""

from vmatrace.kernels.devices import *  # noqa: F403
from vmatrace.kernels.errors import *  # noqa: F403
from vmatrace.kernels.features import *  # noqa: F403 -- every feature is kernels.FEATURE to the others
from vmatrace.kernels.filesystems import *  # noqa: F403
from vmatrace.kernels.models import *  # noqa: F403
from vmatrace.kernels.ranges import *  # noqa: F403
