"""Edits: changes made at a site of a step, over cells, channels and steps. Edits are data.

    edits.scale(organism, 0.9, channels="h8")                      a lesion of 10 % a step
    edits.erase(organism).where(damage.disc(...)).at(100)          a wound at step 100
    edits.freeze(organism, channels=[4, 5]).at(slice(200, 260))    steps 200..259
    edits.resample(organism, Donor(organism, 200, run=1)).at(200)  another run's values
    edits.graft(organism, donor, (36, 36), (36, 60), 4).at(200)    a disc of cells moved

An edit of `state` at step t changes what step t reads, hence everything after it. A value may be
given as an array, or as a `Donor`, a run that is named and grown when the edit is made.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
