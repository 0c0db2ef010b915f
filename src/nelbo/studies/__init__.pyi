from .classifiers import ClassifierCard, TrainedClassifier, bundled_classifiers, load_classifier, train_features
from .data_request import DataRequest
from .decisions import decide
from .features import features_for
from .held_out_scores import HELD_OUT_FILE, HeldOutScores, measure_held_out, score_images, stored_scores
from .listener import Listener
from .pictures import show_run
from .points import Gap, PointsReport, report_points
from .run_data import data_of, held_out_part
from .run_features import features_of_run, own_features
from .table2.cells import Cell, GridOptions, table2_cells
from .table2.records import CellRecord, Table2
from .table2.runner import GridListener, drawn_samples, run_table2
from .training import train

__all__ = [
    "HELD_OUT_FILE",
    "Cell",
    "CellRecord",
    "ClassifierCard",
    "DataRequest",
    "Gap",
    "GridListener",
    "GridOptions",
    "HeldOutScores",
    "Listener",
    "PointsReport",
    "Table2",
    "TrainedClassifier",
    "bundled_classifiers",
    "data_of",
    "decide",
    "drawn_samples",
    "features_for",
    "features_of_run",
    "held_out_part",
    "load_classifier",
    "measure_held_out",
    "own_features",
    "report_points",
    "run_table2",
    "score_images",
    "show_run",
    "stored_scores",
    "table2_cells",
    "train",
    "train_features",
]
