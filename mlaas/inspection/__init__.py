"""What is in a file: its trees and branches, their ranges, and histograms of them."""

from mlaas.inspection.histograms import draw_branches, draw_histograms, pages
from mlaas.inspection.inspect import BranchSummary, Inspection, inspect_file
from mlaas.inspection.report import as_json, print_inspection

__all__ = [
    "BranchSummary",
    "Inspection",
    "as_json",
    "draw_branches",
    "draw_histograms",
    "inspect_file",
    "pages",
    "print_inspection",
]
