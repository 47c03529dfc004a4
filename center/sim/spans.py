"""How often simulated clients ask, which others reckon with."""

from __future__ import annotations

from libevrpc.core.mapcache import PullPolicy

__all__ = ["LEARN_S", "PULLS"]

PULLS = PullPolicy(pull_min_s=3.0, pull_max_s=6.0, pull_timeout_s=1.0, long_poll_s=2.0)
"""A tenth of the usual spans: scenarios last seconds."""
LEARN_S = PULLS.pull_max_s + PULLS.long_poll_s + PULLS.pull_timeout_s
"""Every client has asked within this span, and knows the list of now."""
