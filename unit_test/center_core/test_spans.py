"""Centers whose spans differ: nobody takes over before the leader's own lease has ended."""

from __future__ import annotations

from center.core.timing import Timing
from unit_test.center_core.pump import Pump


def test_followers_outwait_a_leader_with_a_longer_lease() -> None:
    pump = Pump(3)
    usual = pump.timing
    pump.timing = Timing(lease_s=2.0, patience_s=3.0)
    pump.start(3)
    pump.run(1.0)  # the eldest leads
    pump.timing = usual
    pump.start(1, 2)
    pump.settle()
    assert pump.leader() == 3
    for follower in (1, 2):
        (said,) = [text for text in pump.hosts[follower].logs if "lease_s" in text]
        assert said == "center 3 has lease_s = 2, here it is 0.3: set all centers alike"
    pump.isolate(3)
    both = 0
    for _ in range(600):
        pump.run(0.01)
        both += sum(pump.node(each).may_claim(pump.now_s) for each in pump.hosts) > 1
    assert both == 0
    assert pump.leader() in (1, 2)
