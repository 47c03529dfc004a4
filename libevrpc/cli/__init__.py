"""The `libevrpc` program: call, list, bench, status."""
