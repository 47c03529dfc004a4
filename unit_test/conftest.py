"""What every test gets: see the plugins."""

pytest_plugins = [
    "unit_test.fix_clock",
    "unit_test.fix_leak",
    "unit_test.fix_net",
    "unit_test.fix_parallel",
    "unit_test.fix_rpc",
    "unit_test.fix_channel",  # uses fix_rpc
    "unit_test.fix_services",
]
