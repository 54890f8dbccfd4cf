"""The share of a budget that one shard may spend.

The shares of a budget sum to it. But a folder that is split has spent where its jobs happen to belong, perhaps more in
one shard than that one's share: then ``allowance`` gives the others less. The cap of the folder holds whoever computes
this and whenever, for these reasons. (1) No shard is ever given more than its share, so one that is over its share
cannot buy: what it has spent can only come down, as bills turn out lower than reserves. (2) The less such shards have
spent, the more the others are given; so what a shard was given earlier is never more than what it would be given now.
(3) The others keep within what they were given. So at any moment the shards over their share, and the rest, have spent
no more together than the former have spent and the latter would be given now: the budget, unless what was spent before
exceeds it already.
"""

from __future__ import annotations

from collections.abc import Mapping

from runner.core.shards import Shard, share

NANO = 1_000_000_000
"""Amounts are counted in billionths of a dollar: integers, so that parts sum to the whole."""


def allowance(budget: int, mine: Shard, spent: Mapping[int, int]) -> int:
    """How much of ``budget`` shard ``mine`` may have spent in all; ``spent`` is what each other one has, by its index.

    All in billionths of a dollar. Shards that have spent more than their part are set aside, with what they have spent,
    until the rest, divided in proportion to their shares, covers what each of the others has.
    """
    shares = {shard.index: share(budget, shard) for shard in mine.all}
    rest, left = dict(shares), budget
    while True:
        whole = sum(rest.values())
        given = {index: max(0, left) * part // whole if whole else 0 for index, part in rest.items()}
        over = [index for index in rest if index != mine.index and spent.get(index, 0) > given[index]]
        if not over:
            return given[mine.index]
        for index in over:
            left -= spent[index]
            del rest[index]


def nano(usd: float) -> int:
    """An amount in billionths of a dollar."""
    return round(usd * NANO)
