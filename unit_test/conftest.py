"""What every test gets: see the three plugins."""

pytest_plugins = ["unit_test.fix_clock", "unit_test.fix_leak", "unit_test.fix_net"]
