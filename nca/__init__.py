"""Growing neural cellular automata: one small network, the same in every cell.

Public names are imported when they are first used, so that `import nca` is immediate; `__init__.pyi`
lists them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
