"""What every test gets: see the plugins."""

from hypothesis import HealthCheck, settings

pytest_plugins = [
    "unit_test.fix_clock",
    "unit_test.fix_leak",
    "unit_test.fix_net",
    "unit_test.fix_parallel",
    "unit_test.fix_rpc",
    "unit_test.fix_channel",  # uses fix_rpc
    "unit_test.fix_services",
]

# No test fails for the time that it takes: the machine may have other things to do.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")
