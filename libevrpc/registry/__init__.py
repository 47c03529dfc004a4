"""Registries: where servers announce themselves and clients learn of them.

One adapter and at most one foreign library per module; imported when a target names it.
"""
