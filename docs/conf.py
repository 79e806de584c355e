"""Settings of the documentation: it is built offline, and a warning is an error.

sphinx-build -W --keep-going -b html docs build/docs
"""

import sys
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE / "extensions")]

project = "nca-dissection"
author = "the authors of nca-dissection"
try:
    release = installed("nca-dissection")
except PackageNotFoundError:
    release = "0"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "docstrings",
    "equations",
    "notebooks",
]
exclude_patterns = ["extensions"]
default_role = "code"
highlight_language = "text"

myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
add_module_names = False
html_math_renderer = "mathml"

html_theme = "furo"
html_title = "nca-dissection"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False
html_theme_options = {
    "light_css_variables": {
        "color-brand-primary": "#a84300",
        "color-brand-content": "#a84300",
        "color-brand-visited": "#a84300",
    },
    "dark_css_variables": {
        "color-brand-primary": "#f0935a",
        "color-brand-content": "#f0935a",
        "color-brand-visited": "#f0935a",
    },
}
