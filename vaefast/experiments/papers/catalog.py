"""The papers that `vaefast reproduce` runs, by name."""

from __future__ import annotations

from vaefast.experiments.papers.dai_wipf.paper import PAPER as DAI_WIPF
from vaefast.experiments.papers.gamix.paper import PAPER as GAMIX
from vaefast.experiments.papers.hinrichsen.paper import PAPER as HINRICHSEN
from vaefast.experiments.papers.zhao.paper import PAPER as ZHAO

PAPERS = {"dai-wipf": DAI_WIPF, "gamix": GAMIX, "hinrichsen": HINRICHSEN, "zhao": ZHAO}
