"""The RunComfy Model API on this machine: real HTTP, queue, prices and pictures, and faults on request.

::

    server     a socket of this machine
      └─ emulator   calls in, answers out, all of it counted
           ├─ routes      which call a path is
           ├─ dice        whether a fault happens to it   (faults: what there is, and how it is written)
           ├─ service     what the API does               (work: the queue, catalogue: models and prices,
           │                                               telling: the words, state: what outlives us)
           ├─ storage     the files behind the links      (pictures, lettering, clips)
           ├─ spoil       what a fault makes of an answer
           └─ wire        how the answer travels

It stands apart: nothing of it knows the rest of the package, so that the two cannot share a mistake. Time is
``now()`` and ``asyncio.sleep`` only, and nothing happens between calls: whoever looks moves the queue on.
"""

from .app import Emulator
from .catalogue import MODELS
from .faults import InjectedFault, load_faults, parse_fault
from .options import Options
from .server import serve

__all__ = ["MODELS", "Emulator", "InjectedFault", "Options", "load_faults", "parse_fault", "serve"]
