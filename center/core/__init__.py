"""The center's core, pure: events and `now_s` in, actions out.

`node.Node` is the one machine that a shell or a simulator drives. It is put together from
smaller ones: `election` (who should lead), `leadership` (who may: the epoch handshake and
the lease), `publication` (which map is committed), `members` (which servers live) and
`ledger` (what is durable).
"""
