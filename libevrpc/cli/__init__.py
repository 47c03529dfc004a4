"""The `libevrpc` program: call, list, status, bench."""
