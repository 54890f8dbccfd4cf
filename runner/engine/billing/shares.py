"""Share of a budget that one shard may spend.

The shares of a budget sum to the budget. After a split, the earlier purchases of a folder belong to the shards of their
jobs, so a shard may have spent more than its share. ``allowance`` then gives the other shards less.

The budget of the folder holds independent of which shard computes this, and when:

1. No shard is given more than its share. A shard over its share therefore cannot buy, and its spent amount can only
   decrease, if bills are lower than reserves.
2. The less such shards have spent, the more the other shards are given. An earlier allowance of a shard is therefore
   never more than its present one.
3. The other shards stay within their allowances.

At any time the total spent is therefore at most the amount spent by the shards over their share plus the present
allowances of the others. This is the budget, unless the amount spent before the split already exceeds it.
"""

from __future__ import annotations

from collections.abc import Mapping

from runner.core.shards import Shard, share

NANO = 1_000_000_000
"""Units per dollar. Amounts are integers in billionths of a dollar, so that the parts sum to the whole."""


def allowance(budget: int, mine: Shard, spent: Mapping[int, int]) -> int:
    """Return the part of ``budget`` that shard ``mine`` may spend in total.

    ``spent`` has the amount that each other shard has spent, by its index. All amounts are in billionths of a dollar.
    Shards that have spent more than their part are removed from the division, and the spent amounts from the budget.
    This repeats until each remaining shard has spent at most its part, in proportion to the shares.
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
    """Return an amount in billionths of a dollar."""
    return round(usd * NANO)
