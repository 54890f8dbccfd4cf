"""Steps of one job: ``submit`` → ``poll`` → ``deliver``.

Every step takes a record and returns the next one. The next record is durable in the ledger before anything else
happens to the job. A step may be cancelled at any point: a later run continues from the last record.
"""
