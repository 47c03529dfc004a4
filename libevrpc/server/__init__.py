"""The server: a dispatch thread, loop threads that own the connections, worker threads.

`RpcServer` is the composition root; sessions, calls and the worker pool live in modules
of their own.
"""
