"""How should swap entries be freed when processes exit? A model, a simulator, evidence and statistics.

The public names below load on first use, so that ``import swaplib`` needs the standard library alone.
"""

__version__ = "0.1.0"

_HOME = {
    "Comparison": "swaplib.analysis.comparison",
    "compare": "swaplib.analysis.compare",
    "datasets": "swaplib.evidence.datasets",
    "kernel": "swaplib.catalogue",
    "kernels": "swaplib.catalogue",
    "load": "swaplib.evidence.datasets",
    "machine": "swaplib.catalogue",
    "machines": "swaplib.catalogue",
    "policies": "swaplib.catalogue",
    "policy": "swaplib.catalogue",
    "simulate": "swaplib.sim.simulate",
    "storm": "swaplib.catalogue",
    "storms": "swaplib.catalogue",
    "check_parameters": "swaplib.parameters",
    "each": "swaplib.parameters",
    "finding": "swaplib.answers",
    "findings": "swaplib.answers",
    "gather": "swaplib.model.gather",
    "read_runs": "swaplib.evidence.runs",
    "reproduce": "swaplib.analysis.reproduce",
    "plot_timeline": "swaplib.analysis.timeline",
    "calibrate": "swaplib.fitting",
    "generation": "swaplib.fitting",
    "read_source": "swaplib.sources",
    "template": "swaplib.fitting",
    "measured_cells": "swaplib.analysis.storms",
    "predict": "swaplib.analysis.storms",
    "write_machine": "swaplib.analysis.machine_file",
    "probe": "swaplib.evidence.probe",
    "read_lmkd": "swaplib.evidence.readers.lmkd",
    "read_measurements": "swaplib.evidence.readers.measurements",
    "read_macrobenchmark": "swaplib.evidence.readers.macrobenchmark",
    "read_oom": "swaplib.evidence.readers.oom",
    "read_status": "swaplib.evidence.readers.status",
    "to_storm": "swaplib.evidence.readers.storm",
    "set_style": "swaplib.analysis.style",
    "sweep": "swaplib.grid",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    """Import a public name from its home on first use."""
    if name in _HOME:
        import importlib

        value = getattr(importlib.import_module(_HOME[name]), name)
        globals()[name] = value
        return value
    raise AttributeError("module 'swaplib' has no attribute {!r}".format(name))


def __dir__() -> list:
    """List the public names, loaded or not."""
    return sorted(set(globals()) | set(__all__))
