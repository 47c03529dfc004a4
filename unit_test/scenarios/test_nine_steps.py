"""The nine steps of the election, all of them visible in one trace: `traces/nine_steps.txt`."""

from __future__ import annotations

import re
from collections.abc import Callable

from center.core.ballot import State
from unit_test.scenarios.play import CALM_S, Play

STEPS = (
    ("1: each center has the list", r"-- the list names"),
    ("2: each center starts", r"-- start all$"),
    ("3: each asks the others who they are", r"<\d Inquiry$"),
    ("3: and is told", r"<\d Introduction: empty, promised 0, LOOKING$"),
    ("4: each proposes whom it holds best", r"<1 Proposal: LOOKING, votes 1\(0.0\) in round 2$"),
    ("5: each judges proposals, and votes anew", r"2 +LOOKING +vote=3.* <3 Proposal: LOOKING"),
    ("6: more than half agree: elected", r"OBSERVING>3 .* elected$"),
    ("6: the elected one asks all to confirm", r"<3 Confirmation: asks for a promise of epoch 1"),
    ("7: each checks that, binds itself, and follows", r"FOLLOWING>3 .* promised$"),
    ("7: with more than half bound it leads", r"3 +LEADING>3 .* a quorum promised$"),
    ("8: each notes whom the others follow", r"<\d Announcement: FOLLOWING under 3 in epoch 1$"),
    ("9: the election has ended; the first map", r"LEADING>3 .* serves \(1.1\)$"),
)
"""(step, what its first line looks like), in their order."""


def test_nine_steps(staged: Callable[..., Play]) -> None:
    play = staged(3)
    play.note("the list names centers 1, 2, 3")
    play.start()
    assert play.settle() == 3
    play.run(0.1)
    settled = len(play.lines)
    play.run(CALM_S)
    told = [line for line in play.lines[settled:] if not re.search(r"<\d P[io]ng", line)]
    assert told == [], "step 9: nobody speaks any more but for pings"
    assert play.states() == {1: State.FOLLOWING, 2: State.FOLLOWING, 3: State.LEADING}

    first = [line_of(pattern, play.lines) for _, pattern in STEPS]
    assert first == sorted(first)
    for (step, _), at in reversed(list(zip(STEPS, first, strict=True))):
        play.lines.insert(at, f"== step {step}")


def line_of(pattern: str, lines: list[str]) -> int:
    return next(at for at, line in enumerate(lines) if re.search(pattern, line))
