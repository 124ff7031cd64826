"""What came of a run, as a page: report.html in the output folder, and its pictures as PNG in report/.

report.py     when it is written, and what is in it
publishing.py its files
examples.py   what the model writes, and what it looks at meanwhile
plots.py      the pictures
page.py       the page
"""

from conjoin.training.report.plots import require_plots
from conjoin.training.report.publishing import PAGE, State
from conjoin.training.report.report import Report

__all__ = ["PAGE", "Report", "State", "require_plots"]
