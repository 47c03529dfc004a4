from __future__ import annotations

from collections import Counter

from center.core.assignment import AssignmentKind
from center.core.planning import SlotPlanner
from libevrpc.core.clustermap import ClusterMap, ServerEntry, ServerState, ServiceTable

EMPTY = ClusterMap("c", 0, 0)


def entry(name: str, *services: str, **more: object) -> ServerEntry:
    return ServerEntry(f"{name}:80", services or ("s.S",), **more)  # type: ignore[arg-type]


def plan(
    planner: SlotPlanner,
    previous: ClusterMap,
    *servers: ServerEntry,
    now_s: float = 100.0,
    weigh: bool = False,
) -> ClusterMap:
    planned, tables = planner.plan(previous, servers, now_s, weigh=weigh)
    return ClusterMap("c", 1, previous.version + 1, planned, tables)


def slots_by_owner(table: ServiceTable) -> Counter[int]:
    return Counter(table.members[owner] for owner in table.owners[::2])


def test_services_of_the_same_servers_share_a_table() -> None:
    made = plan(
        SlotPlanner(),
        EMPTY,
        entry("a", "x.X", "y.Y", "z.Z"),
        entry("b", "x.X", "y.Y"),
    )
    assert [(table.services, table.members) for table in made.tables] == [
        (("x.X", "y.Y"), (0, 1)),
        (("z.Z",), (0,)),
    ]
    assert ClusterMap.decode(made.encode()) == made


def test_the_first_servers_start_at_full_weight_and_later_ones_slowly() -> None:
    planner = SlotPlanner()
    first = plan(planner, EMPTY, entry("a"), entry("b"))
    assert [each.weight for each in first.servers] == [1.0, 1.0]
    second = plan(planner, first, entry("a"), entry("b"), entry("c"))
    assert [each.weight for each in second.servers] == [1.0, 1.0, 0.1]
    later = plan(planner, second, entry("a"), entry("b"), entry("c"), now_s=130.0)
    assert [each.weight for each in later.servers] == [1.0, 1.0, 1.0]


def test_a_new_leader_goes_on_with_the_weights_of_the_map() -> None:
    old = ClusterMap("c", 1, 1, (entry("a", weight=0.5), entry("b", weight=1.5)))
    made = plan(SlotPlanner(), old, entry("a"), entry("b"))
    assert [each.weight for each in made.servers] == [0.5, 1.5]


def test_an_operators_new_weight_scales_the_present_one() -> None:
    planner = SlotPlanner()
    old = ClusterMap("c", 1, 1, (entry("a", weight=0.5),))
    made = plan(planner, old, entry("a"))
    assert plan(planner, made, entry("a", weight=4.0)).servers[0].weight == 2.0


def test_a_server_that_comes_back_after_it_was_gone_starts_slowly() -> None:
    planner = SlotPlanner()
    both = plan(planner, EMPTY, entry("a"), entry("b"))
    alone = plan(planner, both, entry("a"))
    assert plan(planner, alone, entry("a"), entry("b")).servers[1].weight == 0.1


def test_a_busier_server_loses_weight_in_weight_rounds_only() -> None:
    planner = SlotPlanner()
    servers = (entry("a", load=0.9), entry("b", load=0.3))
    made = plan(planner, EMPTY, *servers)
    assert [each.weight for each in made.servers] == [1.0, 1.0]
    weighed = plan(planner, made, *servers, weigh=True)
    assert weighed.servers[0].weight < 1.0 < weighed.servers[1].weight


def test_a_suspect_weighs_nothing_and_keeps_its_slots() -> None:
    planner = SlotPlanner()
    made = plan(planner, EMPTY, entry("a"), entry("b"))
    suspected = plan(planner, made, entry("a"), entry("b", state=ServerState.SUSPECT), weigh=True)
    assert suspected.servers[1].weight == 0.0
    assert suspected.tables[0].owners == made.tables[0].owners


def test_a_draining_server_loses_its_slots() -> None:
    planner = SlotPlanner()
    made = plan(planner, EMPTY, entry("a"), entry("b"))
    for _ in range(100):
        made = plan(planner, made, entry("a"), entry("b", state=ServerState.DRAINING), weigh=True)
    assert made.servers[1].weight == 0.0
    assert slots_by_owner(made.tables[0])[1] == 0


def test_a_dead_servers_slots_move_at_once_and_the_others_stay() -> None:
    planner = SlotPlanner()
    made = plan(planner, EMPTY, entry("a"), entry("b"), entry("c"))
    left = plan(planner, made, entry("a"), entry("c"))
    before = [made.servers[made.tables[0].members[o]].address for o in made.tables[0].owners[::2]]
    after = [left.servers[left.tables[0].members[o]].address for o in left.tables[0].owners[::2]]
    assert set(after) == {"a:80", "c:80"}
    moved = sum(old != new for old, new in zip(before, after, strict=True) if old != "b:80")
    assert moved <= 0.01 * len(before)


def test_a_service_keeps_its_slots_when_it_comes_to_share_its_servers_with_another() -> None:
    planner = SlotPlanner()
    made = plan(
        planner, EMPTY, entry("a", "x.X", "y.Y"), entry("b", "x.X", "y.Y"), entry("c", "x.X")
    )
    left = plan(planner, made, entry("a", "x.X", "y.Y"), entry("b", "x.X", "y.Y", "z.Z"))
    before, after = made.table_of("y.Y"), left.table_of("y.Y")
    assert before is not None
    assert after is not None
    assert after.owners == before.owners
    assert left.table_of("x.X") != after
    joined = plan(planner, left, entry("a", "x.X", "y.Y", "z.Z"), entry("b", "x.X", "y.Y", "z.Z"))
    assert [table.services for table in joined.tables] == [("x.X",), ("y.Y",), ("z.Z",)]
    newer = ("v.V", "x.X", "y.Y", "z.Z")
    newest = plan(planner, joined, entry("a", *newer), entry("b", *newer))
    assert [table.services for table in newest.tables] == [("v.V", "x.X"), ("y.Y",), ("z.Z",)]


def test_the_same_input_gives_the_same_plan_also_by_ring() -> None:
    for kind in AssignmentKind:
        made = [plan(SlotPlanner(kind), EMPTY, entry("a"), entry("b")) for _ in range(2)]
        assert made[0] == made[1]
