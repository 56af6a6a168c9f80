"""The configuration of a run, typed and checked: settings.py says what can be set, file.py reads and compares runs."""

from sentalign.config.batch_share import rank_share, rank_views
from sentalign.config.file import check, decisive, difference, dump, load
from sentalign.config.loss_settings import Loss
from sentalign.config.map_settings import Maps
from sentalign.config.settings import Augment, Config, Data, DataSource, Optimizer, Train
from sentalign.config.strict_model import StrictModel, Tag
from sentalign.config.validation_settings import Validation
from sentalign.config.yaml_file import read_mapping, read_override, validated

__all__ = [
    "Augment",
    "Config",
    "Data",
    "DataSource",
    "Loss",
    "Maps",
    "Optimizer",
    "StrictModel",
    "Tag",
    "Train",
    "Validation",
    "check",
    "decisive",
    "difference",
    "dump",
    "load",
    "rank_share",
    "rank_views",
    "read_mapping",
    "read_override",
    "validated",
]
