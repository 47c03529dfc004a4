"""One fault, done to a settled stage and taken back, with what was seen of it.

Tests do each a few times; `tools/measure_partitions.py` does each twenty times and more.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass, field

from libevrpc.clock import monotonic_s
from libevrpc.core.clustermap import ClusterMap
from unit_test.faults.history import History, faults_of, lag_s, reigns_of, two_claimants_s
from unit_test.faults.stage import Stage
from unit_test.interop.clusters import wait_until

__all__ = [
    "DISK_TRIALS",
    "FIVE_TRIALS",
    "LOST",
    "RESETS",
    "TRIALS",
    "Trial",
    "go_dark",
]


@dataclass(slots=True)
class Trial:
    """What was seen of one fault.

    Attributes:
        took_ms: from just before the fault until a survivor served a map of a newer epoch;
            None: nothing of the kind was to be.
        handover_ms: from the old leader's last claim to the next one's first, both at their
            widest; None: no handover.
        two_claimants_ms: for how long at most two centers claimed to lead.
        two_surely_ms: the same, at least: however late the observers were.
        leader_changes: during the trial.
        outage_ms: how long the leader that stays did not claim to lead.
        lag_ms: how long at most the victim served an older map than others did.
        calls, failed: of clients.
        faults: what must never be, and was.
    """

    took_ms: float | None = None
    handover_ms: float | None = None
    two_claimants_ms: float = 0.0
    leader_changes: int = 0
    outage_ms: float = 0.0
    lag_ms: float | None = None
    calls: int = 0
    failed: int = 0
    faults: list[str] = field(default_factory=list)
    two_surely_ms: float = 0.0


def _judge(stage: Stage, since_s: float, leader: int, epoch: int) -> tuple[Trial, History]:
    """Fill in what every trial has."""
    history = stage.history()
    seen = history.between(since_s)
    trial = Trial(faults=faults_of(history))
    reigns = reigns_of(seen)
    trial.leader_changes = len({each.epoch for each in reigns} - {epoch})
    trial.two_claimants_ms = two_claimants_s(seen) * 1000.0
    trial.two_surely_ms = two_claimants_s(seen, surely=True) * 1000.0
    first = history.first_read(epoch, [str(each) for each in stage.others(leader)])
    if first is not None:
        trial.took_ms = (first.return_s - since_s) * 1000.0
    later = [each for each in reigns if each.epoch != epoch]
    earlier = [each for each in reigns if each.epoch == epoch]
    if later and earlier:
        trial.handover_ms = (later[0].from_s - earlier[-1].to_s) * 1000.0
    trial.calls = len(seen.calls)
    failures = [each.failure for each in seen.calls if each.failure]
    trial.failed = len(failures)
    trial.faults += failures[:3]
    return trial, seen


def _outage_ms(seen: History, leader: int) -> float:
    """Return how long `leader` did not claim to lead, from the last claim to the next."""
    total_s, until_s, broken = 0.0, None, False
    for claim in seen.claims:
        if claim.source != str(leader):
            continue
        if claim.leads:
            if broken and until_s is not None:
                total_s += claim.return_s - until_s
            until_s, broken = claim.call_s, False
        else:
            broken = True
    return total_s * 1000.0 if not broken else float("inf")


def _follow_again(stage: Stage, center: int, leader: int) -> None:
    """Wait until `center` follows `leader` with its newest map."""

    def follows() -> bool:
        status, led = stage.status(center), stage.map(leader)
        if status is None or led is None:
            return False
        return (status.leader, status.map_epoch, status.version) == (leader, *led.stamp)

    wait_until(follows, what=f"center {center} follows {leader}\n{stage.logs()}")


# The leader is lost ---------------------------------------------------------------------------


def _lose_leader(
    stage: Stage,
    lose: Callable[[int, list[int]], float],
    back: Callable[[int], object],
    with_it: int = 0,
) -> Trial:
    """Lose the leader, let the majority work, give the old leader back.

    Args:
        stage: settled.
        lose: does it, given leader and others; returns the moment just before.
        back: gives this leader back.
        with_it: how many of the others, the first ones, are lost with it.
    """
    leader = stage.leader()
    others = stage.others(leader)
    epoch = stage.epoch(leader)
    with stage.beacon() as beacon:
        since_s = lose(leader, others)
        stage.newer_epoch(epoch, others)
        majority = others[with_it:]
        stage.register(beacon, majority[0], majority)
        back(leader)
        after = stage.leader()
        stage.register(beacon, after, stage.ids)
    trial, _ = _judge(stage, since_s, leader, epoch)
    if trial.took_ms is None:
        trial.faults.append("no newer epoch")
    return trial


def kill(stage: Stage) -> Trial:
    """SIGKILL the leader, start it again."""
    return _lose_leader(stage, lambda leader, _: stage.kill(leader), stage.restart)


def freeze(stage: Stage) -> Trial:
    """SIGSTOP the leader, let it go on when another one leads."""

    def stop(leader: int, others: list[int]) -> float:
        return stage.processes[leader].signal(signal.SIGSTOP)

    return _lose_leader(stage, stop, stage.thaw)


def _alone(
    stage: Stage,
    cut: Callable[[int, list[int]], float],
    *,
    heard: bool = False,
    with_it: int = 0,
) -> Trial:
    """Cut the leader off by `cut`; a minority changes nothing.

    Args:
        stage: settled.
        cut: does it, given leader and others; returns the moment just before.
        heard: what the leader says still arrives: a quorum stores what it publishes, though
            it never learns of it, and the next leader takes that over.
        with_it: how many of the others, the first ones, are cut off with it.
    """
    told: list[str] = []

    def lose(leader: int, others: list[int]) -> float:
        before = stage.map(leader)
        assert before is not None
        since_s = cut(leader, others)
        with stage.beacon() as lost:
            stage.report(leader, lost)  # it may still believe that it leads
            stage.newer_epoch(before.epoch, others)
            wait_until(lambda: stage.report(leader, lost).not_ready, what="it knows")
            shown = stage.pull(leader)
            if not shown.stale:
                told.append("the minority does not say that its map is old")
            epoch = ClusterMap.decode(shown.map).epoch
            if epoch != before.epoch:
                told.append(f"the minority serves a map of epoch {epoch}")
            told.extend(
                f"center {each} took a server of the minority"
                for each in stage.ids
                if not heard and lost in stage.servers_at(each)
            )
        return since_s

    trial = _lose_leader(stage, lose, lambda leader: stage.heal(), with_it)
    trial.faults += told
    return trial


def isolate(stage: Stage) -> Trial:
    """Cut the leader off from every other center, both ways."""
    return _alone(stage, lambda leader, others: stage.cut(leader, *others))


def deafen(stage: Stage) -> Trial:
    """Lose what the others say to the leader: its pings arrive, the answers do not."""
    return _alone(stage, lambda leader, others: stage.silence(others, [leader]), heard=True)


def mute(stage: Stage) -> Trial:
    """Lose what the leader says."""
    return _alone(stage, lambda leader, others: stage.silence([leader], others))


def refuse(stage: Stage) -> Trial:
    """Reset every connection between the leader and the others.

    Who hears a reset takes it for the end of the other process: see `rebuff`.
    """

    def cut(leader: int, others: list[int]) -> float:
        since_s = stage.silence(others, [leader], refuse=True)
        stage.silence([leader], others, refuse=True)
        return since_s

    return _alone(stage, cut)


def rebuff(stage: Stage) -> Trial:
    """Answer with a reset whatever is sent to the leader, as some firewalls do.

    To the others it looks as if its process had died, so they elect at once; it does not
    know, and claims to lead for the rest of its lease.
    """
    return _alone(
        stage, lambda leader, others: stage.silence(others, [leader], refuse=True), heard=True
    )


# The leader stays -----------------------------------------------------------------------------


def _await_served(stage: Stage, address: str, center: int) -> None:
    wait_until(lambda: address in stage.servers_at(center), what=stage.logs())


CHANGES = 3
"""Registrations during a cut that must change no leader."""


def _keep_leader(stage: Stage, cut: Callable[[int, int, int], float], victim_serves: bool) -> Trial:
    """Cut, let the majority publish, heal; the victim follows again.

    Args:
        stage: of three centers.
        cut: does it, given leader, victim and third.
        victim_serves: the victim still reaches a majority node: its maps must stay fresh.
    """
    leader = stage.leader()
    victim, third = stage.others(leader)[:2]
    epoch = stage.epoch(leader)
    since_s = cut(leader, victim, third)
    for _ in range(CHANGES):
        with stage.beacon() as beacon:
            stage.register(beacon, leader, stage.others(victim))
            if victim_serves:
                _await_served(stage, beacon, victim)
    healed_s = monotonic_s()
    stage.heal()
    _follow_again(stage, victim, leader)
    with stage.beacon() as beacon:
        stage.register(beacon, leader, stage.ids)
    trial, seen = _judge(stage, since_s, leader, epoch)
    trial.outage_ms = _outage_ms(seen, leader)
    if victim_serves:
        trial.lag_ms = lag_s(stage.history().between(since_s, healed_s), str(victim), healed_s)
        trial.lag_ms *= 1000.0
    return trial


def cut_follower(stage: Stage) -> Trial:
    """Cut a follower off from every other center."""
    return _keep_leader(stage, lambda leader, f, third: stage.cut(f, leader, third), False)


def cut_link(stage: Stage) -> Trial:
    """Cut the link between the leader and a follower; a third center sees both."""
    return _keep_leader(stage, lambda leader, f, third: stage.cut(f, leader), True)


def cut_followers(stage: Stage) -> Trial:
    """Cut the link between two followers."""
    return _keep_leader(stage, lambda leader, f, third: stage.cut(f, third), True)


def deafen_follower(stage: Stage) -> Trial:
    """Lose what the leader says to one follower, in this direction only."""
    return _keep_leader(stage, lambda leader, f, third: stage.silence([leader], [f]), True)


def mute_follower(stage: Stage) -> Trial:
    """Lose what one follower says to the leader, in this direction only."""
    return _keep_leader(stage, lambda leader, f, third: stage.silence([f], [leader]), True)


# Every center is lost -------------------------------------------------------------------------


def go_dark(stage: Stage, calls: int = 100, dark_s: float = 0.0) -> Trial:
    """SIGKILL every center; start all again after so many calls and so long."""
    leader = stage.leader()
    epoch = stage.epoch(leader)
    newest = stage.map(leader)
    assert newest is not None
    since_s = monotonic_s()
    for center in stage.ids:
        stage.kill(center)
    if dark_s:
        wait_until(lambda: monotonic_s() >= since_s + dark_s, 2 * dark_s)
    wait_until(lambda: len(stage.history().between(since_s).calls) >= calls, what="calls")
    stage.start_all()
    stage.newer_epoch(epoch, stage.ids)
    after = stage.leader()
    with stage.beacon() as beacon:
        stage.register(beacon, after, stage.ids)
    # The client hears of the new epoch, too.
    wait_until(lambda: stage.history().calls[-1].epoch > epoch, what=f"a newer map\n{stage.logs()}")
    trial, _ = _judge(stage, since_s, leader, epoch)
    trial.took_ms = None
    return trial


# Five centers ---------------------------------------------------------------------------------


def cut_two(stage: Stage) -> Trial:
    """Cut the leader and a follower off from the other three of five."""

    def cut(leader: int, others: list[int]) -> float:
        follower, *majority = others
        since_s = stage.silence([leader, follower], majority)
        stage.silence(majority, [leader, follower])
        return since_s

    return _alone(stage, cut, with_it=1)


def shatter(stage: Stage) -> Trial:
    """Cut five centers into two, two and one: nobody leads, nothing is published."""
    leader = stage.leader()
    epoch = stage.epoch(leader)
    one, two, three, four = stage.others(leader)
    parts = [[leader, one], [two, three], [four]]
    since_s = monotonic_s()
    for part in parts:
        stage.silence(part, stage.others(*part))

    def headless() -> bool:
        return all(stage.pull(each).stale for each in stage.ids)

    wait_until(headless, what=f"no leader\n{stage.logs()}")
    told = []
    with stage.beacon() as lost:
        for _ in range(CHANGES):
            told += [
                f"{each} is ready" for each in stage.ids if not stage.report(each, lost).not_ready
            ]
        called = len(stage.history().calls)
        wait_until(lambda: len(stage.history().calls) > called + 100, what="calls")
        told += [f"{each} took a server" for each in stage.ids if lost in stage.servers_at(each)]
    told += [f"{each} has a new epoch" for each in stage.ids if stage.epoch(each) != epoch]
    stage.heal()
    after = stage.leader()
    with stage.beacon() as beacon:
        stage.register(beacon, after, stage.ids)
    trial, _ = _judge(stage, since_s, leader, epoch)
    trial.took_ms = trial.handover_ms = None
    trial.faults += told
    return trial


# A disk is full -------------------------------------------------------------------------------


def _fill(stage: Stage, pick: Callable[[int], int]) -> Trial:
    """Fill one center's own disk; give it room again when the others have published."""
    leader = stage.leader()
    epoch = stage.epoch(leader)
    victim = pick(leader)
    others = stage.others(victim)
    log = stage.folder / f"center-{victim}.log"
    told = len(log.read_text())
    since_s = monotonic_s()
    stage.fill_disk(victim)
    with stage.beacon() as first, stage.beacon() as second:
        stage.register(first, others[0], others)
        stage.fill_disk(victim)  # of the room that a write gave back which was under way
        stage.register(second, others[0], others)
        stage.free_disk(victim)
        stage.register(second, stage.leader(), stage.ids)
    wait_until(lambda: "disk writes again" in log.read_text()[told:], what=log.read_text())
    trial, _ = _judge(stage, since_s, leader, epoch)
    lines = [line for line in log.read_text()[told:].splitlines() if " ERROR " in line]
    if len(lines) != 1 or "No space left on device" not in lines[0]:
        trial.faults.append(f"said in its log: {lines}")
    return trial


def fill_leader(stage: Stage) -> Trial:
    """Fill the leader's disk: it gives way to one that can write."""
    return _fill(stage, lambda leader: leader)


def fill_follower(stage: Stage) -> Trial:
    """Fill a follower's disk."""
    return _fill(stage, lambda leader: stage.others(leader)[0])


LOST = {
    "leader killed": kill,
    "leader frozen": freeze,
    "leader isolated": isolate,
    "leader hears nobody": deafen,
    "nobody hears the leader": mute,
    "leader's connections reset": refuse,
    "leader behind a firewall that resets": rebuff,
}
"""Faults that cost the leader its place."""

RESETS = ("leader's connections reset", "leader behind a firewall that resets")
"""Those in which it may claim to lead beside the next one, for the rest of its lease."""

FIVE_TRIALS: dict[str, Callable[[Stage], Trial]] = {
    "two of five cut off, the leader too": cut_two,
    "five cut in two, two and one": shatter,
}
"""For a stage of five centers."""

DISK_TRIALS: dict[str, Callable[[Stage], Trial]] = {
    "disk of the leader full": fill_leader,
    "disk of a follower full": fill_follower,
}
"""For a stage whose centers have small disks of their own."""

TRIALS: dict[str, Callable[[Stage], Trial]] = {
    **LOST,
    "follower cut off": cut_follower,
    "link of leader and follower cut": cut_link,
    "link of two followers cut": cut_followers,
    "follower does not hear the leader": deafen_follower,
    "leader does not hear a follower": mute_follower,
    "every center killed": go_dark,
}
