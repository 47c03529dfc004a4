"""One connection as a caller sees it: calls, deadlines, heartbeats, who reads.

Callers on any thread share a connection. Whoever holds its reader baton reads for all of
them: a lone caller reads its own reply (no thread switch); with futures pending the
background loop reads.
"""
