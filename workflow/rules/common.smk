"""
Common: the study that the configuration names, and the files that it makes.

in   config/config.yaml, or what --configfile puts over it
out  STUDY (validated and resolved), TARGETS (files of the study)
"""

import gc
import sys
from pathlib import Path

# the graph of a large study is millions of objects that stay; looking for garbage among them takes an eighth of the time
gc.set_threshold(50_000, 50, 50)

sys.path.insert(0, str(Path(workflow.basedir) / "scripts"))

from annobench.config.study import load_study
from annobench.core.paths import ROOT, SCRIPTS
from annobench.workflow.absent import check_nothing_went_away
from annobench.workflow.targets import Targets
from annobench.workflow.common import (
    constraints_of,
    let_drivers_import_from,
    named_source,
    stop_with_message,
    without_timers,
)

let_drivers_import_from(SCRIPTS)

with stop_with_message():
    STUDY = load_study(config, ROOT, named_source(workflow))
    check_nothing_went_away(STUDY)

TARGETS = Targets(STUDY)


onstart:
    without_timers(workflow)


wildcard_constraints:
    **constraints_of(STUDY),
