from .classifiers import ClassifierCard, TrainedClassifier, bundled_classifiers, load_classifier, train_features
from .features import features_for
from .pictures import show_run
from .points import Gap, PointsReport, report_points
from .table2 import Cell, CellRecord, GridListener, GridOptions, Table2, drawn_samples, run_table2, table2_cells
from .training import DataRequest, Listener, data_of, held_out_part, train

__all__ = [
    "Cell",
    "CellRecord",
    "ClassifierCard",
    "DataRequest",
    "Gap",
    "GridListener",
    "GridOptions",
    "Listener",
    "PointsReport",
    "Table2",
    "TrainedClassifier",
    "bundled_classifiers",
    "data_of",
    "drawn_samples",
    "features_for",
    "held_out_part",
    "load_classifier",
    "report_points",
    "run_table2",
    "show_run",
    "table2_cells",
    "train",
    "train_features",
]
