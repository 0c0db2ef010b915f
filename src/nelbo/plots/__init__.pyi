from .animation import Animation, animate, animate_images, rasterised
from .bound import CURVE_LEFT, CURVE_RIGHT, per_step_bound, step_curve
from .calls import curves_against_calls
from .codec import codec_curves
from .counts import count_bars
from .curves import bound_curve, loss_curve
from .forward import forward_strip
from .grid import sample_grid, single_image
from .heat_map import heat_map_figure
from .interpolation import interpolation_table
from .monte_carlo import monte_carlo_curves
from .neighbours import neighbours_table
from .points import chain_of_points, moving_points, point_cloud
from .rate_distortion import rate_distortion_curve
from .reconstructions import reconstruction_grid
from .restoration import restoration_strip
from .samplers import samplers_table
from .samples import picture_of
from .saving import Picture, check_ending, save
from .schedule import schedule_curves
from .scores import score_histogram
from .shared import shared_table
from .style import figure_png
from .table2 import HeatTable, heat_tables, samples_by_cell
from .trajectory import evenly, trajectory_strip

__all__ = [
    "CURVE_LEFT",
    "CURVE_RIGHT",
    "Animation",
    "HeatTable",
    "Picture",
    "animate",
    "animate_images",
    "bound_curve",
    "chain_of_points",
    "check_ending",
    "codec_curves",
    "count_bars",
    "curves_against_calls",
    "evenly",
    "figure_png",
    "forward_strip",
    "heat_map_figure",
    "heat_tables",
    "interpolation_table",
    "loss_curve",
    "monte_carlo_curves",
    "moving_points",
    "neighbours_table",
    "per_step_bound",
    "picture_of",
    "point_cloud",
    "rasterised",
    "rate_distortion_curve",
    "reconstruction_grid",
    "restoration_strip",
    "sample_grid",
    "samplers_table",
    "samples_by_cell",
    "save",
    "schedule_curves",
    "score_histogram",
    "shared_table",
    "single_image",
    "step_curve",
    "trajectory_strip",
]
