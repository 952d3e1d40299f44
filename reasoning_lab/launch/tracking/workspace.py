"""A W&B workspace for a sweep: its cells beside each other, made of W&B's own panels.

W&B has no panel that is a heat map of two swept keys: here they span a scatter plot coloured by the result, and the
sweep's own heat map, with its intervals, is the picture of the closing run.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from reasoning_lab.launch.errors import ConfigError
from reasoning_lab.launch.folders import read_submitted
from reasoning_lab.launch.tracking.closing import first_cell
from reasoning_lab.launch.tracking.mode import has_key
from reasoning_lab.launch.tracking.names import group_of
from reasoning_lab.report.collect.sweep import collect_sweep
from reasoning_lab.report.views.sweep import swept_keys

COST = "decode_tokens"
RESULTS = ("accuracy", "gap_recovered", "score/final", "nmi", "acceptance", "steered_fraction")
"""What a cell's summary may hold that is worth a panel, most wanted first."""


@dataclass(frozen=True)
class Board:
    """What a sweep's workspace is about."""

    project: str
    entity: str
    name: str
    group: str
    """W&B's group of the sweep's runs."""
    axes: tuple[str, ...]
    """Keys of the config that the sweep varies, most values first; of an option of a group `choice/<group>`."""
    measured: tuple[str, ...]
    """Metrics that the cells' summaries have."""
    arms: tuple[str, ...] = ()
    """Of each cell, for what is shown while they run."""

    @property
    def results(self) -> list[str]:
        """Those that get panels."""
        return [name for name in RESULTS if name in self.measured]


def board_of(folder: Path) -> Board:
    """The board of a sweep's folder, with at least one finished cell."""
    cells = collect_sweep(folder).finished
    first = read_submitted(first_cell(folder))
    tracking, choices = first.config["tracking"], first.choices
    keys = [f"choice/{key}" if key in choices else key.lstrip("+") for key in swept_keys(cells)]
    measured = dict.fromkeys(name for cell in cells for name in cell.metrics)
    return Board(
        tracking["project"], tracking["entity"] or "", group_of(choices, folder), group_of(choices, folder),
        tuple(keys), tuple(measured), tuple(first.config["arms"]),
    )  # fmt: skip


def workspace_of(board: Board) -> Any:
    """The workspace; no network is asked. Needs the extra `board`."""
    import wandb_workspaces.workspaces as ws

    sections = [
        ws.Section("Results", panels=_results(board), is_open=True),
        ws.Section("Cost and gap", panels=_trades(board), is_open=True),
        ws.Section("While they run", panels=_running(board), is_open=False),
    ]
    return ws.Workspace(
        entity=board.entity,
        project=board.project,
        name=board.name,
        sections=[section for section in sections if section.panels],
        runset_settings=ws.RunsetSettings(
            filters=[ws.Metric("Group") == board.group],
            order=[ws.Ordering(ws.Summary(name), ascending=False) for name in board.results[:1]],
            pinned_columns=["run:displayName", *(f"summary:{name}" for name in board.results[:2])],
        ),
    )


def save_dashboard(folder: Path, environment: Mapping[str, str]) -> str:
    """Save the workspace of a sweep's folder at W&B; its address. ConfigError for what is missing."""
    if find_spec("wandb_workspaces") is None:
        raise ConfigError("wandb-workspaces is not installed; `pip install reasoning_lab[board]`.")
    if not has_key(environment):
        raise ConfigError("no W&B key, and a dashboard is saved at W&B; set WANDB_API_KEY or run `wandb login`.")
    import wandb

    board = board_of(folder)
    entity = board.entity or wandb.Api().default_entity
    if not entity:
        raise ConfigError("tracking.entity=null: the key has no default entity; set it to your W&B user or team.")
    return workspace_of(replace(board, entity=entity)).save().url


def _results(board: Board) -> list[Any]:
    """All swept keys against the result; the first two as a coloured grid; each by itself."""
    import wandb_workspaces.reports.v2 as wr

    panels: list[Any] = [wr.MediaBrowser(title="Heat map", media_keys=["heatmap"], num_columns=1)]
    for name in board.results[:1]:
        result, axes = wr.SummaryMetric(name), [wr.Config(key) for key in board.axes]
        lines = [
            wr.ParallelCoordinatesPlotColumn(axis, display_name=key) for axis, key in zip(axes, board.axes, strict=True)
        ]
        panels.append(
            wr.ParallelCoordinatesPlot(
                title=f"{name} by what was set", columns=[*lines, wr.ParallelCoordinatesPlotColumn(result)]
            )
        )
        if len(axes) > 1:
            panels.append(
                wr.ScatterPlot(title=f"{name} over {board.axes[0]} × {board.axes[1]}", x=axes[0], y=axes[1], z=result)
            )
        panels += [
            wr.BarPlot(title=f"{name} by {key}", metrics=[result], groupby=wr.Config(key), groupby_aggfunc="mean")
            for key in board.axes
        ]
    return panels


def _trades(board: Board) -> list[Any]:
    """Accuracy against tokens; the gap that is recovered, against what was steered."""
    import wandb_workspaces.reports.v2 as wr

    panels: list[Any] = []
    if {COST, "accuracy"} <= set(board.measured):
        x, y = wr.SummaryMetric(COST), wr.SummaryMetric("accuracy")
        panels.append(wr.ScatterPlot(title="accuracy against tokens", x=x, y=y, log_x=True))
    if "gap_recovered" in board.measured:
        gap = wr.SummaryMetric("gap_recovered")
        panels.append(wr.BarPlot(title="gap recovered", metrics=[gap]))
        if "steered_fraction" in board.measured:
            x = wr.SummaryMetric("steered_fraction")
            panels.append(wr.ScatterPlot(title="gap recovered against steered tokens", x=x, y=gap))
    return panels


def _running(board: Board) -> list[Any]:
    """Per arm the accuracy so far; then rates and what is left."""
    import wandb_workspaces.reports.v2 as wr

    panels: list[Any] = [
        wr.LinePlot(
            title=f"accuracy so far: {arm}", x=f"graded/{arm}",
            y=[f"{name}/{arm}" for name in ("accuracy", "accuracy_low", "accuracy_high")],
        )
        for arm in board.arms
    ]  # fmt: skip
    rates = {"tokens per second": "tokens_per_second", "acceptance": "acceptance", "occupancy": "occupancy"}
    panels += [
        wr.LinePlot(title=title, x="answers/" + arm, y=[f"{name}/{arm}"])
        for title, name in rates.items()
        for arm in board.arms[:1]
    ]
    return [*panels, wr.LinePlot(title="seconds left", x="seconds", y=["eta_seconds"])]
