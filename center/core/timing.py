"""The spans of a center's life, validated together."""

from __future__ import annotations

from dataclasses import dataclass, fields

from libevrpc.errors import ConfigError

__all__ = ["Timing"]


@dataclass(frozen=True, slots=True)
class Timing:
    """Spans in seconds unless said otherwise; the defaults suit one machine room.

    Attributes:
        heartbeat_s: a leader pings every center this often; also the longest nap of a node,
            by which it notices its own lag.
        lease_s: a leader without a quorum of answers to pings sent within this span gives up.
        patience_s: a follower without a ping for this long looks for a leader.
        patience_jitter: patience is drawn from patience_s * [1, 1 + patience_jitter].
        finalize_s: how long a won count waits for a better ballot while a voter is still out.
        retry_min_s: first span after which an unanswered ballot is sent again.
        retry_max_s: the span doubles up to this; it bounds how late a healed center notices.
        handshake_s: a candidate that does not lead after this span starts again.
        batch_s: registrations gather this long before a publication.
        round_s: load is judged and weights are moved this often.
        expire_s: a server silent for this long is out.
        suspect_s: the longest time suspects of a mass silence stay in the map.
        suspect_ratio: share of the servers falling silent at once that makes a mass silence;
            1: nothing does.

    Raises:
        ConfigError: a span is not positive, or two contradict each other.
    """

    heartbeat_s: float = 0.1
    lease_s: float = 0.3
    patience_s: float = 0.5
    patience_jitter: float = 0.2
    finalize_s: float = 0.05
    retry_min_s: float = 0.1
    retry_max_s: float = 1.6
    handshake_s: float = 2.0
    batch_s: float = 0.02
    round_s: float = 1.0
    expire_s: float = 3.0
    suspect_s: float = 60.0
    suspect_ratio: float = 0.3

    def __post_init__(self) -> None:
        """Check every span alone, then those that lean on each other."""
        for each in fields(self):
            if not 0 < getattr(self, each.name) <= 3600:
                raise ConfigError(f"{each.name} must be in (0, 3600]")
        if not self.heartbeat_s * 2 <= self.lease_s < self.patience_s:
            raise ConfigError(
                f"lease_s = {self.lease_s} must be at least 2 * heartbeat_s = "
                f"{2 * self.heartbeat_s} and below patience_s = {self.patience_s}"
            )
        if self.retry_min_s > self.retry_max_s:
            raise ConfigError(
                f"retry_min_s = {self.retry_min_s} is over retry_max_s = {self.retry_max_s}"
            )
        if self.suspect_ratio > 1 or self.expire_s <= self.round_s:
            raise ConfigError(
                f"suspect_ratio = {self.suspect_ratio} must be at most 1 and expire_s = "
                f"{self.expire_s} over round_s = {self.round_s}"
            )
