"""Emulator of the RunComfy Model API on this machine: real HTTP, queue, prices and pictures, and faults on request.

::

    server     a socket of this machine
      └─ app       calls in, answers out, all of it counted
           ├─ fault_injection  whether a fault happens to a call   (faults: what there is, and how it is written)
           ├─ service          what the API does       (queue, catalogue: models and prices, responses,
           │                                            journal: what outlives the process)
           ├─ storage          the files behind the links           (pictures, text_layout, video, other_files)
           ├─ apply_faults     what a fault makes of an answer      (output_faults: of the outputs in a result)
           └─ wire             how an answer is sent

It stands apart: nothing here imports the rest of the package, so that the two cannot share a mistake. Time is
``now()`` and ``asyncio.sleep`` only, and nothing happens between calls: whoever asks moves the queue on.
"""

from .app import Emulator
from .catalogue import MODELS
from .faults import InjectedFault, load_faults, parse_fault
from .options import Options
from .server import serve

__all__ = ["MODELS", "Emulator", "InjectedFault", "Options", "load_faults", "parse_fault", "serve"]
