from .data import described as described
from .page import frame as frame
from .page import save as save
from .widget import Viewer as Viewer
