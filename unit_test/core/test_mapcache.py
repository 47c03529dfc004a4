"""Map cache: never back, never empty, never another cluster by mistake, always asking."""

from __future__ import annotations

import random

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libevrpc.core.clustermap import ClusterMap, ServerEntry
from libevrpc.core.mapcache import (
    Answer,
    CacheAction,
    Failed,
    MapAdopted,
    MapAnswer,
    MapCache,
    Note,
    NotReady,
    PersistRecord,
    Pull,
    PullPolicy,
    may_replace,
)

CENTERS = ["c1:1", "c2:1", "c3:1"]
NO_POLL = PullPolicy(long_poll=False)
GONE = Failed("refused")


def published(epoch: int, version: int, cluster: str = "us", servers: int = 1) -> ClusterMap:
    entries = tuple(ServerEntry(f"10.0.0.{n}:1") for n in range(servers))
    return ClusterMap(cluster, epoch, version, entries)


def cache_of(policy: PullPolicy = NO_POLL, record: bytes | None = None, seed: int = 1) -> MapCache:
    return MapCache(CENTERS, random.Random(seed), policy, record)


def pulls(actions: list[CacheAction]) -> list[Pull]:
    return [action for action in actions if isinstance(action, Pull)]


def records(actions: list[CacheAction]) -> list[bytes]:
    return [action.record for action in actions if isinstance(action, PersistRecord)]


def adopted(actions: list[CacheAction]) -> list[tuple[int, int]]:
    return [action.map.stamp for action in actions if isinstance(action, MapAdopted)]


def ask(cache: MapCache, now_s: float) -> Pull:
    """Go on to the next question."""
    (pull,) = pulls(cache.tick(now_s))
    return pull


def answer_all(cache: MapCache, answers: list[Answer]) -> list[CacheAction]:
    """Let due times come and answer one question after the other."""
    actions: list[CacheAction] = []
    queue = pulls(cache.start(0.0))
    now_s = 0.0
    for answer in answers:
        while not queue:
            now_s = cache.next_deadline_s()
            queue = pulls(cache.tick(now_s))
        new = cache.answered(queue.pop(0).number, answer, now_s)
        queue += pulls(new)
        actions += new
    return actions


def test_first_map_is_taken_stored_and_reported() -> None:
    cache = cache_of()
    assert cache.next_deadline_s() == float("inf")
    (pull,) = cache.start(0.0)
    assert pull == Pull(1, "c1:1", "", (0, 0), 0.0)
    actions = cache.answered(1, MapAnswer(published(3, 5)), 0.1)
    assert [type(action) for action in actions] == [PersistRecord, MapAdopted]
    assert ask(cache, cache.next_deadline_s()) == Pull(2, "c1:1", "us", (3, 5), 0.0)


def test_older_and_equal_maps_are_refused() -> None:
    older = [published(2, 9), published(3, 4), published(3, 5)]
    cache = cache_of()
    actions = answer_all(cache, [MapAnswer(m) for m in (published(3, 5), *older, published(3, 6))])
    assert adopted(actions) == [(3, 5), (3, 6)]


def test_map_and_centers_survive_a_restart() -> None:
    stored = records(answer_all(cache_of(), [MapAnswer(published(3, 5), ("n1:1",))]))[-1]
    again = cache_of(record=stored)
    actions = again.start(0.0)
    assert adopted(actions) == [(3, 5)]
    (pull,) = pulls(actions)
    assert (pull.center, pull.stamp) == ("n1:1", (3, 5))
    assert adopted(again.answered(pull.number, MapAnswer(published(3, 4)), 0.0)) == []


def test_remembered_center_alone_is_enough_to_start() -> None:
    stored = records(answer_all(cache_of(), [MapAnswer(published(3, 5), ("n1:1",))]))[-1]
    cache = MapCache([], random.Random(1), NO_POLL, stored)
    assert pulls(cache.start(0.0))[0].center == "n1:1"


def test_start_with_every_center_dead_uses_the_stored_map() -> None:
    stored = records(answer_all(cache_of(), [MapAnswer(published(3, 5))]))[-1]
    cache = cache_of(record=stored)
    answer_all(cache, [GONE] * 20)
    assert cache.usable == published(3, 5)


@pytest.mark.parametrize(
    "record",
    [b"", b"x", msgpack.packb([2, None, None, []]), msgpack.packb([1, None, None, [3]]),
     msgpack.packb([1, b"junk", None, []]), msgpack.packb(5)],
)  # fmt: skip
def test_unreadable_record_is_a_note_and_a_fresh_start(record: bytes) -> None:
    cache = cache_of(record=record)
    note, pull = cache.start(0.0)
    assert isinstance(note, Note)
    assert isinstance(pull, Pull)
    assert (cache.map, cache.usable) == (None, None)


def record_of(found: ClusterMap) -> bytes:
    return records(answer_all(cache_of(), [MapAnswer(found)]))[-1]


def test_a_stored_record_gives_way_to_a_newer_one_or_to_another_cluster() -> None:
    stored = record_of(published(3, 5))
    assert may_replace(stored, stored)
    assert may_replace(stored, record_of(published(3, 6)))
    assert not may_replace(stored, record_of(published(3, 4)))
    assert may_replace(stored, record_of(published(1, 1, cluster="them")))


def test_a_record_without_a_map_gives_way_and_replaces_none() -> None:
    stored = record_of(published(3, 5))
    bare = records(answer_all(cache_of(), [NotReady(("n1:1",))]))[-1]
    for worthless in (b"", msgpack.packb(5), msgpack.packb([2, None, None, []]), bare):
        assert may_replace(worthless, stored)
        assert not may_replace(stored, worthless)


def test_empty_map_moves_the_stamp_but_keeps_the_servers() -> None:
    cache = cache_of()
    actions = answer_all(cache, [MapAnswer(published(3, 5)), MapAnswer(published(3, 6, servers=0))])
    assert adopted(actions) == [(3, 5)]
    assert cache.map == published(3, 6, servers=0)
    again = cache_of(record=records(actions)[-1])
    assert adopted(again.start(0.0)) == [(3, 5)]
    assert again.map == published(3, 6, servers=0)
    assert adopted(again.answered(1, MapAnswer(published(3, 5)), 0.0)) == []


def test_a_stored_map_is_a_memory_until_a_center_under_a_leader_has_spoken() -> None:
    stored = records(answer_all(cache_of(), [MapAnswer(published(3, 5))]))[-1]
    for answer in (
        NotReady(),
        GONE,
        MapAnswer(None, (), True),
        MapAnswer(published(3, 6), (), True),
    ):
        cache = cache_of(record=stored)
        answer_all(cache, [answer])
        assert not cache.confirmed
        answer_all(cache, [MapAnswer(None)])
        assert cache.confirmed
    cache = cache_of(record=stored)
    answer_all(cache, [MapAnswer(published(3, 6))])
    assert cache.confirmed


def test_what_an_empty_map_means_is_told_truly() -> None:
    def told(*maps: ClusterMap) -> list[str]:
        actions = answer_all(cache_of(), [MapAnswer(each) for each in maps])
        return [each.text for each in actions if isinstance(each, Note)]

    assert told(published(1, 1, servers=0)) == ["map without servers: calls wait for the first one"]
    assert told(published(1, 1), published(1, 2, servers=0)) == [
        "map without servers: calls go on with the last known"
    ]


def test_an_empty_map_confirms_no_servers() -> None:
    stored = records(answer_all(cache_of(), [MapAnswer(published(3, 5))]))[-1]
    cache = cache_of(record=stored)
    answer_all(cache, [MapAnswer(published(3, 6, servers=0)), MapAnswer(None)])
    assert not cache.confirmed
    cache = cache_of()
    answer_all(cache, [MapAnswer(None), stranger(), MapAnswer(published(1, 2, "them"))])
    assert cache.confirmed


def test_stored_empty_map_is_nothing_to_balance_over() -> None:
    stored = records(answer_all(cache_of(), [MapAnswer(published(1, 1, servers=0))]))[-1]
    again = cache_of(record=stored)
    assert adopted(again.start(0.0)) == []
    assert again.map is not None


def test_pulls_of_twenty_clients_lie_30_to_60_s_apart_jittered() -> None:
    gaps = []
    for seed in range(20):
        cache = cache_of(seed=seed)
        (pull,) = pulls(cache.start(0.0))
        now_s = 0.0
        for _ in range(20):
            assert cache.answered(pull.number, MapAnswer(None), now_s) == []
            gaps.append(cache.next_deadline_s() - now_s)
            now_s = cache.next_deadline_s()
            pull = ask(cache, now_s)
    assert all(30.0 <= gap <= 60.0 for gap in gaps)
    assert min(gaps) < 33.0
    assert max(gaps) > 57.0


def test_dead_centers_are_asked_in_turn_with_growing_patience() -> None:
    cache = cache_of()
    (pull,) = pulls(cache.start(0.0))
    asked, waits, now_s = [pull.center], [], 0.0
    for _ in range(9):
        cache.answered(pull.number, GONE, now_s)
        waits.append(cache.next_deadline_s() - now_s)
        now_s = cache.next_deadline_s()
        pull = ask(cache, now_s)
        asked.append(pull.center)
    assert asked == [*CENTERS, *CENTERS, *CENTERS, "c1:1"]
    assert 0.05 <= waits[0] <= 0.1
    assert all(1.0 <= wait <= 2.0 for wait in waits[6:])


def test_answer_that_does_not_come_counts_as_failure_and_is_dropped_later() -> None:
    cache = cache_of()
    cache.start(0.0)
    assert cache.next_deadline_s() == 2.0
    assert cache.tick(1.9) == []
    cache.tick(2.0)
    assert ask(cache, 2.1).center == "c2:1"
    assert cache.answered(1, MapAnswer(published(9, 9)), 2.2) == []
    assert cache.map is None


def test_center_without_a_leader_names_the_others() -> None:
    cache = cache_of()
    cache.start(0.0)
    actions = cache.answered(1, NotReady(("n1:1", "c2:1")), 0.0)
    assert len(records(actions)) == 1
    assert cache.centers.addresses == ("n1:1", "c2:1", "c1:1", "c3:1")
    pull = ask(cache, 0.2)
    cache.answered(pull.number, MapAnswer(published(1, 1)), 0.2)
    pull = ask(cache, cache.next_deadline_s())
    assert cache.answered(pull.number, NotReady(("stranger:1",)), 60.0) == []


def test_new_centers_are_stored_without_a_new_map() -> None:
    cache = cache_of()
    actions = answer_all(cache, [MapAnswer(published(1, 1)), MapAnswer(None, ("n1:1",))])
    assert len(records(actions)) == 2
    assert cache.centers.named == ("n1:1",)


# -- another cluster ------------------------------------------------------------------


def stranger(version: int = 1, cluster: str = "them") -> Answer:
    return MapAnswer(published(1, version, cluster))


def test_another_cluster_is_taken_after_three_pulls_without_ours() -> None:
    cache = cache_of()
    actions = answer_all(cache, [MapAnswer(published(3, 5)), *[stranger()] * 8])
    assert adopted(actions) == [(3, 5)]
    cache = cache_of()
    actions = answer_all(cache, [MapAnswer(published(3, 5)), *[stranger()] * 9])
    assert adopted(actions) == [(3, 5), (1, 1)]
    assert cache.confirmed
    notes = [action.text for action in actions if isinstance(action, Note)]
    assert [note.rpartition("pulls=")[2] for note in notes] == ["1", "2", "3"]


def test_one_center_with_our_cluster_starts_the_count_over() -> None:
    cache = cache_of()
    answers = [MapAnswer(published(3, 5)), *[stranger()] * 8, MapAnswer(None), *[stranger()] * 8]
    assert adopted(answer_all(cache, answers)) == [(3, 5)]
    assert cache.map == published(3, 5)


def test_dead_centers_neither_count_nor_start_over() -> None:
    answers = [MapAnswer(published(3, 5)), *[stranger()] * 6, *[GONE] * 3, GONE, GONE, stranger()]
    assert adopted(answer_all(cache_of(), answers)) == [(3, 5), (1, 1)]


def test_strangers_that_disagree_are_not_followed() -> None:
    disagree = [stranger(), stranger(1, "others"), GONE]
    answers = [MapAnswer(published(3, 5)), *[stranger()] * 6, *disagree, *[stranger()] * 6]
    assert adopted(answer_all(cache_of(), answers)) == [(3, 5)]


# -- long-poll ------------------------------------------------------------------------


def polling() -> tuple[MapCache, Pull]:
    cache = cache_of(PullPolicy())
    cache.start(0.0)
    (poll,) = pulls(cache.answered(1, MapAnswer(published(1, 1)), 0.0))
    assert poll == Pull(2, "c1:1", "us", (1, 1), 25.0)
    return cache, poll


def test_long_poll_brings_news_at_once_and_stays_open() -> None:
    cache, poll = polling()
    actions = cache.answered(poll.number, MapAnswer(published(1, 2)), 0.5)
    assert adopted(actions) == [(1, 2)]
    (poll,) = pulls(actions)
    assert (poll.stamp, poll.wait_s) == ((1, 2), 25.0)
    (poll,) = pulls(cache.answered(poll.number, MapAnswer(None), 25.5))
    assert poll.center == "c1:1"


def test_long_poll_that_fails_backs_off_elsewhere_and_pulls_go_on() -> None:
    cache, poll = polling()
    assert pulls(cache.answered(poll.number, GONE, 0.5)) == []
    assert 0.55 <= cache.next_deadline_s() <= 0.6
    again = ask(cache, 0.6)
    assert (again.center, again.wait_s) == ("c2:1", 25.0)
    waits = []
    for now_s in (27.7, 40.0, 61.0):
        waits += [pull.wait_s for pull in pulls(cache.tick(now_s))]
    assert 0.0 in waits


def test_long_poll_answered_too_early_does_not_spin() -> None:
    cache, poll = polling()
    for answer in (MapAnswer(None), MapAnswer(published(1, 1)), stranger()):
        assert pulls(cache.answered(poll.number, answer, 0.5)) == []
        assert cache.next_deadline_s() > 0.5
        poll = ask(cache, 0.5 + 2.0)
        cache.tick(0.5)
    assert cache.map == published(1, 1)


def test_stored_map_opens_the_long_poll_at_once() -> None:
    stored = records(answer_all(cache_of(), [MapAnswer(published(3, 5))]))[-1]
    waits = [pull.wait_s for pull in pulls(cache_of(PullPolicy(), stored).start(0.0))]
    assert waits == [0.0, 25.0]


answers = st.one_of(
    st.builds(
        lambda *figures: MapAnswer(published(*figures)),
        st.integers(0, 3),
        st.integers(0, 3),
        st.sampled_from(["us", "us", "them"]),
        st.integers(0, 1),
    ),
    st.just(MapAnswer(None)),
    st.just(NotReady(("n1:1",))),
    st.just(GONE),
)


@settings(max_examples=150)
@given(st.lists(st.tuples(answers, st.booleans(), st.floats(0, 3)), max_size=60), st.booleans())
def test_stamps_never_go_back_within_a_cluster_even_across_restarts(
    history: list[tuple[Answer, bool, float]], long_poll: bool
) -> None:
    policy = PullPolicy(long_poll=long_poll)
    stored: bytes | None = None
    cache, now_s = cache_of(policy), 0.0
    queue = pulls(cache.start(0.0))
    for answer, restart, late_s in history:
        before = cache.map
        if restart and late_s > 2.5:
            cache = cache_of(policy, stored)
            queue = pulls(cache.start(now_s))
        while not queue:
            now_s = max(now_s, cache.next_deadline_s())
            queue = pulls(cache.tick(now_s))
        now_s += late_s
        actions = cache.answered(queue.pop(0).number, answer, now_s)
        queue += pulls(actions)
        stored = records(actions)[-1] if records(actions) else stored
        after = cache.map
        if before is not None:
            assert after is not None
            assert after.cluster_id != before.cluster_id or after.stamp >= before.stamp
        if cache.usable is not None:
            assert cache.usable.servers
