"""How should swap entries be freed when processes exit? The public names, which load on first use."""

__version__ = "0.1.0"

_NAMES = {
    "catalogue": "HASH_NS kernel kernels machine machines policies policy storm storms",
    "answers": "finding findings",
    "parameters": "check_parameters each",
    "sweeps": "exits_at_once in_parallel launch_times solved_work sweep",
    "explore": "Explorer",
    "model.gather": "Limits RECORDS_RULE capacity gather",
    "model.kernel": "COST_PARTS Lock",
    "model.storm": "Background Phase background_load jump_entries sorted_run_entries",
    "sim.simulate": "simulate",
    "evidence.data": "datasets load",
    "evidence.runs": "read_runs",
    "evidence.measurements": "read_measurements",
    "evidence.probe_core": "probe",
    "evidence.android": "read_lmkd",
    "evidence.oom": "read_oom",
    "evidence.storm_of": "read_status to_storm",
    "analysis.contention": "closed_network far_share fit_contention lock_curve lockhammer"
    " lockhammer_curve published_curves",
    "analysis.calibrate": "NOISE calibrate generation template write_machine",
    "analysis.predictions": "CELL METRICS MOST_FOLIO_PAGES MUNMAP_TABLES STORM_TABLES observe"
    " measured_cells policy_of predict predicted_munmap storm_of with_splits",
    "analysis.sources": "read_source",
    "analysis.significance": "error_rates",
    "analysis.compare": "Comparison compare",
    "analysis.reply": "reply_text",
    "analysis.reproduce": "reproduce",
    "analysis.screening": "camera_launch latin_design one_at_a_time",
    "analysis.timeline": "plot_timeline",
    "analysis.words": "count digits paired_change span",
    "analysis.style": "AFTER BEFORE BLUE DASHED DOTTED GREEN INK MUTED ORANGE PURPLE SKY SOLID VERMILLION"
    " policy_line set_style",
}
_HOME = {name: "swaplib." + module for module, names in _NAMES.items() for name in names.split()}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> object:
    """Import a public name from its home on first use."""
    if name not in _HOME:
        raise AttributeError("module 'swaplib' has no attribute {!r}".format(name))
    import importlib

    globals()[name] = getattr(importlib.import_module(_HOME[name]), name)
    return globals()[name]


def __dir__() -> list:
    """List the public names, loaded or not."""
    return sorted(set(globals()) | set(__all__))
