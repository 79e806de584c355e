from .data import page_data as page_data
from .page import iframe as iframe
from .page import save_page as save_page
from .page import viewer_html as viewer_html
from .widget import Viewer as Viewer
