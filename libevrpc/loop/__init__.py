"""The only socket code on the RPC path: wake-up pipe, event loop, transport, listener.

One thread owns each loop and everything registered with it; `EventLoop.post` is the
door for every other thread.
"""
