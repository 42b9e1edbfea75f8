"""How should swap entries be freed when processes exit? A model, a simulator, evidence and statistics.

The public names below load on first use, so that ``import swaplib`` needs the standard library alone.
"""

__version__ = "0.1.0"

_NAMES = {
    "catalogue": "HASH_NS kernel kernels machine machines policies policy storm storms",
    "answers": "finding findings",
    "parameters": "check_parameters each",
    "grid": "sweep",
    "explore": "Explorer",
    "fitting": "calibrate generation template",
    "sources": "read_source",
    "predictions": "MOST_FOLIO_PAGES MUNMAP_TABLES STORM_TABLES predicted_munmap predicted_storms",
    "model.capacity": "Limits RECORDS_RULE capacity works_of",
    "model.gather": "gather",
    "model.kernel": "COST_PARTS Lock",
    "model.storm": "Background Phase background_load jump_entries sorted_run_entries",
    "sim.simulate": "simulate",
    "evidence.datasets": "datasets load",
    "evidence.runs": "read_runs",
    "evidence.probe": "probe",
    "evidence.readers.lmkd": "read_lmkd",
    "evidence.readers.macrobenchmark": "read_macrobenchmark",
    "evidence.readers.measurements": "read_measurements",
    "evidence.readers.oom": "read_oom",
    "evidence.readers.status": "read_status",
    "evidence.readers.storm": "to_storm",
    "analysis.calibrate": "NOISE PRIOR",
    "analysis.comparison": "Comparison",
    "analysis.compare": "compare",
    "analysis.headline": "count digits span",
    "analysis.machine_file": "write_machine",
    "analysis.reproduce": "reproduce",
    "analysis.storms": "CELL METRICS machine_of measured_cells observe policy_of predict storm_of with_splits",
    "analysis.style": "AFTER BEFORE BLUE DASHED DOTTED GREEN INK MUTED ORANGE PURPLE SKY SOLID VERMILLION"
    " policy_line set_style",
    "analysis.timeline": "plot_timeline",
}
_HOME = {name: "swaplib." + module for module, names in _NAMES.items() for name in names.split()}

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
