"""Emulator of the RunComfy Model API on this machine: real HTTP, queue, prices and pictures, and faults on request.

::

    server     loopback socket
      └─ app       receives calls, sends responses, counts both
           ├─ fault_injection  choice of a fault for a call     (faults: kinds of faults and their syntax)
           ├─ service          behaviour of the API             (queue, catalogue: models and prices, responses,
           │                                                     journal: requests that survive a restart)
           ├─ storage          files behind the links           (pictures, text_layout, video, other_files)
           ├─ apply_faults     faults applied to a response     (output_faults: to the outputs in a result)
           └─ wire             transmission of a response

The emulator is independent: no module here imports the rest of ``runner``, so that both cannot share a mistake. Time
comes only from ``now()`` and ``asyncio.sleep``. No work is done between calls: each call advances the queue.
"""

from .app import Emulator
from .catalogue import MODELS
from .faults import InjectedFault, load_faults, parse_fault
from .options import Options
from .server import serve

__all__ = ["MODELS", "Emulator", "InjectedFault", "Options", "load_faults", "parse_fault", "serve"]
