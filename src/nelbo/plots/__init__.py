"""Pictures of what a run knows: tensors and records go in, a figure or an image comes out, `save` writes it whole.

This is the one home of matplotlib. Figures are made without pyplot, so nothing here touches a display or global state.
"""

from nelbo.plots.animation import Animation, animate, animate_images, rasterised
from nelbo.plots.bound import per_step_bound
from nelbo.plots.calls import curves_against_calls
from nelbo.plots.codec import codec_curves
from nelbo.plots.counts import count_bars
from nelbo.plots.curves import bound_curve, loss_curve
from nelbo.plots.forward import forward_strip
from nelbo.plots.grid import sample_grid
from nelbo.plots.interpolation import interpolation_table
from nelbo.plots.monte_carlo import monte_carlo_curves
from nelbo.plots.neighbours import neighbours_table
from nelbo.plots.points import chain_of_points, moving_points, point_cloud
from nelbo.plots.rate_distortion import rate_distortion_curve
from nelbo.plots.reconstructions import reconstruction_grid
from nelbo.plots.restoration import restoration_strip
from nelbo.plots.samplers import samplers_table
from nelbo.plots.samples import picture_of
from nelbo.plots.saving import Picture, check_ending, save
from nelbo.plots.schedule import schedule_curves
from nelbo.plots.scores import score_histogram
from nelbo.plots.shared import shared_table
from nelbo.plots.table2 import HeatTable, heat_tables, samples_by_cell
from nelbo.plots.trajectory import evenly, trajectory_strip

__all__ = [
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
    "forward_strip",
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
    "trajectory_strip",
]
