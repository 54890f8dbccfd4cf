"""Steps of one job: ``submit`` → ``poll`` → ``deliver``.

Every step takes a record and returns the next one, durable in the ledger before anything else happens to the job. A
step may be cancelled at any point: what was recorded is where a later run goes on.
"""
