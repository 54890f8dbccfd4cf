"""A batch on a cluster of Dask ``distributed``: one long task a shard, with the normal run inside.

    run --cluster ──> conductor ── probe ──> every worker: the same runner, the same folder, a token?
                          │  slots, each with its share of slots and rate
                          ├── Order ──> work, on a worker: app.run of one shard ──> Outcome
                          └── board <── News, twice a second ── work

The engine decides where a shard runs, and begins it again elsewhere when a worker dies. What was bought it is never
asked: that is in the shard's results manifest in the shared folder, and so a shard that begins again buys nothing
twice. Several shards at a time are as many as there are slots; a slot's share of ``concurrency`` and ``rate`` goes from
shard to shard, so what all of them do together stays within the manifest's bounds.

A shard goes on while it hears of the program that started the run, and without it ends gently: nobody spends unwatched.
A worker that turns out not to fit says so instead of running a shard, and the conductor has that done elsewhere.

Only ``engine``, ``work`` and what ``probe`` carries to a worker import ``distributed``; the extra ``dask`` installs it.
No order, outcome or news holds the token: workers find their own, as ``runner`` does everywhere.
"""
