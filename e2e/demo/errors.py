"""What can go wrong in the demo beside the lab itself.

LabError (e2e.lab.errors)
└── DemoFailed   a release did not go as it must, or the cluster does not answer
"""

from __future__ import annotations

from e2e.lab.errors import LabError


class DemoFailed(LabError):
    """The demo shows something else than it promises; the message names the part."""
