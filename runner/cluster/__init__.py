"""Batch on a Dask ``distributed`` cluster: one long task for each shard, with a normal run inside.

::

    run --cluster ──> coordinator ── preflight ──> every worker: same runner, same folder, a token?
                          │  slots, each with its share of concurrency and rate
                          ├── ShardOrder ──> worker: operations.run of one shard ──> ShardOutcome
                          └── progress <── ShardUpdate, twice a second ── worker

Dask decides where a shard runs, and restarts a shard elsewhere when its worker dies. Purchases are recorded only in the
shard's results log in the shared folder, never in Dask, so a restarted shard buys nothing twice. The number of slots
limits how many shards run at a time. Each slot passes its share of ``concurrency`` and ``rate`` from shard to shard, so
all shards together stay within the limits of the manifest.

A shard runs as long as it receives signs of life from the program that started the run. Otherwise the shard stops
buying and ends, so that no money is spent unattended. An unfit worker reports the reason instead of running a shard,
and the coordinator tries another worker.

Only ``dask_client``, ``worker`` and the code that ``worker_entry`` sends to workers import ``distributed``, which the
extra ``dask`` installs. No message contains the token: each worker finds its own token, as in any other run.
"""
