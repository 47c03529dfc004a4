"""The client: targets, balancing, retries, stubs.

`RpcClient` is the composition root; a call runs in the caller's thread (`sync`) or is
driven by the background loop (`futures`).
"""
