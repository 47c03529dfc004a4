"""Bad streams for the wires of a server; see `tools/fuzz_wires.py`."""
