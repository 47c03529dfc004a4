"""The heap of deadlines: order, cancelling, memory."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from libevrpc.core.timers import Timer, TimerHeap


def run_due(heap: TimerHeap, now_s: float) -> None:
    for callback in heap.pop_due(now_s):
        callback()


def test_earliest_fires_first_and_equals_keep_their_order() -> None:
    heap = TimerHeap()
    fired: list[str] = []
    for deadline_s, name in ((3.0, "c"), (1.0, "a1"), (2.0, "b"), (1.0, "a2"), (1.0, "a3")):
        heap.arm(deadline_s, lambda name=name: fired.append(name))
    assert heap.next_deadline_s() == 1.0
    run_due(heap, 2.5)
    assert fired == ["a1", "a2", "a3", "b"]
    assert heap.next_deadline_s() == 3.0
    assert len(heap) == 1


def test_timer_fires_at_its_deadline_not_before() -> None:
    heap = TimerHeap()
    timer = heap.arm(1.0, lambda: None)
    assert list(heap.pop_due(0.999)) == []
    assert timer.armed
    run_due(heap, 1.0)
    assert not timer.armed
    assert heap.next_deadline_s() is None


def test_cancelled_timer_never_fires() -> None:
    heap = TimerHeap()
    fired: list[int] = []
    timer = heap.arm(1.0, lambda: fired.append(1))
    heap.arm(2.0, lambda: fired.append(2))
    heap.cancel(timer)
    heap.cancel(timer)
    assert not timer.armed
    assert len(heap) == 1
    run_due(heap, 5.0)
    assert fired == [2]
    assert len(heap) == 0


def test_next_deadline_looks_past_cancelled_timers() -> None:
    heap = TimerHeap()
    first = heap.arm(1.0, lambda: None)
    heap.arm(2.0, lambda: None)
    heap.cancel(first)
    assert heap.next_deadline_s() == 2.0
    assert len(heap) == 1


def test_cancelling_after_firing_changes_nothing() -> None:
    heap = TimerHeap()
    timer = heap.arm(1.0, lambda: None)
    heap.arm(9.0, lambda: None)
    run_due(heap, 1.0)
    heap.cancel(timer)
    assert len(heap) == 1


def test_callback_may_cancel_one_that_is_due_as_well() -> None:
    heap = TimerHeap()
    fired: list[str] = []
    later: list[Timer] = []

    def first() -> None:
        fired.append("first")
        heap.cancel(later[0])

    heap.arm(1.0, first)
    later.append(heap.arm(2.0, lambda: fired.append("second")))
    heap.arm(3.0, lambda: fired.append("third"))
    run_due(heap, 5.0)
    assert fired == ["first", "third"]
    assert len(heap) == 0


def test_timer_that_rearms_itself_waits_for_the_next_turn() -> None:
    heap = TimerHeap()
    fired: list[int] = []

    def again() -> None:
        fired.append(1)
        heap.arm(0.0, again)

    heap.arm(0.0, again)
    run_due(heap, 1.0)
    assert len(fired) == 1
    run_due(heap, 1.0)
    assert len(fired) == 2


def test_cancelled_timers_do_not_pile_up() -> None:
    heap = TimerHeap()
    kept = [heap.arm(1000.0 + each, lambda: None) for each in range(10)]
    for each in range(5000):
        heap.cancel(heap.arm(2000.0 + each, lambda: None))
    assert len(heap) == len(kept)
    assert len(heap._heap) < 200  # noqa: SLF001
    assert heap.next_deadline_s() == 1000.0


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("arm"), st.integers(0, 50)),
        st.tuples(st.just("cancel"), st.integers(0, 200)),
        st.tuples(st.just("run"), st.integers(0, 10)),
    ),
    max_size=200,
)


@settings(max_examples=150)
@given(STEPS)
def test_heap_does_what_a_sorted_list_does(steps: list[tuple[str, int]]) -> None:
    heap = TimerHeap()
    fired: list[int] = []
    timers: list[Timer] = []
    model: dict[int, float] = {}
    now_s = 0.0
    for what, number in steps:
        if what == "arm":
            name = len(timers)
            model[name] = now_s + number
            timers.append(heap.arm(now_s + number, lambda name=name: fired.append(name)))
        elif what == "cancel" and timers:
            model.pop(number % len(timers), None)
            heap.cancel(timers[number % len(timers)])
        elif what == "run":
            now_s += number
            wanted = sorted((at_s, name) for name, at_s in model.items() if at_s <= now_s)
            fired.clear()
            run_due(heap, now_s)
            assert fired == [name for _, name in wanted]
            for _, name in wanted:
                del model[name]
        assert len(heap) == len(model)
        assert heap.next_deadline_s() == min(model.values(), default=None)
