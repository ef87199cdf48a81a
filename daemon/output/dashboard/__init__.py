"""Full-screen dashboard: pure state, pure view, a thread for the terminal."""

from daemon.output.dashboard.dashboard import (
    Dashboard,
    dashboard_possible,
    export_svg,
)
from daemon.output.dashboard.display import Display
from daemon.output.dashboard.state import DashboardState

__all__ = ["Dashboard", "DashboardState", "Display", "dashboard_possible", "export_svg"]
