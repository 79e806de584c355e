"""The viewer: an organism alive in one HTML page, or in a notebook, to be taken apart by hand.

from analysis import viewer
viewer.save_page(organism, "lizard.html")     one file that opens anywhere, without a network
viewer.Viewer(organism)                     the same in a notebook; needs the extra "notebook"
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
