"""How is it wired? Populations, projections, and the bidirectional network they form."""

from bsd.networks.audit import Audit, audit
from bsd.networks.bidirectional import CONTROL_COLUMNS, BidirectionalNetwork
from bsd.networks.describe import describe
from bsd.networks.layout import Layout, Population, Projection

__all__ = [
    "CONTROL_COLUMNS",
    "Audit",
    "BidirectionalNetwork",
    "Layout",
    "Population",
    "Projection",
    "audit",
    "describe",
]
