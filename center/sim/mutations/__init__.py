"""Production code with one check or one write taken away: what the checkers must notice.

Nothing here is a switch in production code. Each mutation replaces one attribute of a class
or module for as long as it is applied, in the process that plays.
"""

# In the order of the protocol: that of the table of all.
from center.sim.mutations import durable, protocol, servers, settling, lists  # isort: skip
from center.sim.mutations.planting import MUTATIONS, Mutation, applied

__all__ = [
    "MUTATIONS",
    "Mutation",
    "applied",
    "durable",
    "lists",
    "protocol",
    "servers",
    "settling",
]
