"""A batch on a cluster of Dask ``distributed``: one long task for each shard, with a normal run inside.

::

    run --cluster ──> coordinator ── preflight ──> every worker: the same runner, the same folder, a token?
                          │  slots, each with its share of concurrency and rate
                          ├── ShardOrder ──> worker: operations.run of one shard ──> ShardOutcome
                          └── progress <── ShardUpdate, twice a second ── worker

Dask decides where a shard runs, and starts it again elsewhere when a worker dies. It is never asked what was bought:
that is in the shard's results log in the shared folder, so a shard that starts again buys nothing twice. As many shards
run at a time as there are slots; the share of ``concurrency`` and ``rate`` goes from shard to shard, so together they
stay within the manifest's bounds.

A shard runs as long as it hears of the program that started the run, and else ends gently, so that no money is spent
unwatched. A worker that does not fit says so instead of running a shard, and the coordinator tries another.

Only ``client``, ``worker`` and what ``worker_entry`` brings to a worker import ``distributed``; the extra ``dask``
installs it. No message holds the token: workers find their own, as ``runner`` does everywhere.
"""
