"""Runtimes that can run a model, by name, imported when chosen."""

from daemon.model.backends.base import Backend
from daemon.model.backends.job import Job
from daemon.model.backends.table import AUTO, backend_names, candidates, open_backend

__all__ = ["AUTO", "Backend", "Job", "backend_names", "candidates", "open_backend"]
