"""Whole clusters in one thread, under a virtual clock: `python -m center.sim`.

The very objects that run in production (`Node`, `MapCache`, `Reporter`, `SlotPlanner`,
`Front`) meet a network that loses, doubles, delays and cuts, disks that are slow or fail,
and processes that die at any step. A scenario is drawn from one seed and replays exactly;
checkers, one per invariant, watch every event.
"""
