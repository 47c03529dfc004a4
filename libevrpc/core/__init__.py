"""Pure state machines: bytes, values and `now_s` in; events and actions out."""
