"""Taking neural cellular automata apart: recordings, statistics with their nulls, figures, reports.

Public names are imported when they are first used, so that `import analysis` is immediate; `__init__.pyi`
lists them.

recording, cell_table, geometry, metrics, lineage    what a run is, and what it is measured by
paired, sweeps                                       runs beside their controls; many edits as a table
stats                                                surrogates, null tests, multiple testing, trends
assays                                               one folder per question: axes, lesions, ...
populations                                          the same assays with networks as units
report, animation, viewer                            how results are shown
cli                                                  the command line
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
