"""The catalogue: every name gives a model, every number has a source, and what is wrong is said at once."""

import math
import re

import pytest

import swaplib
from swaplib.evidence.data import data_folder
from swaplib.model.kernel import Cost, Lock
from swaplib.model.machine import KINDS, NUMBERS
from swaplib.model.storm import Storm
from swaplib.sim.prepare import check_together, prepare

WITH_SLOT_CACHE = ["6.1", "6.11", "6.12"]
KERNELS = [*WITH_SLOT_CACHE, "6.14", "6.18", "mm-2026-06"]
DEFERRED = ["zram-slot-deferred", "zram-handle-deferred", "zspage-deferred"]
POLICIES = swaplib.policies().name.tolist()


def test_policies_stand_in_the_order_of_the_thread_and_kernels_in_that_of_their_releases():
    first = ["sync", "sync-batched", "gather-sync", "slot-cache-async", "async-v3", "async-per-8"]
    then = ["async-per-node", "async-list", *DEFERRED, "reaper", "present-first", "adaptive"]
    assert first + then == POLICIES
    assert swaplib.kernels().name.tolist() == KERNELS


@pytest.mark.parametrize("frame", ["machines", "kernels", "storms", "policies"])
def test_a_frame_says_of_each_name_what_it_is(frame):
    rows = getattr(swaplib, frame)()
    assert rows.name.is_unique
    assert (rows.drop(columns="features", errors="ignore") != "").all(axis=None)
    assert not rows.isna().any(axis=None)


@pytest.mark.parametrize("name", swaplib.machines().name)
def test_every_number_of_a_machine_has_a_unit_a_kind_and_a_source(name):
    assert max(swaplib.machine(name).capacity) == 1024  # the fastest core is the reference
    frame = swaplib.machine(name).df()
    assert frame.number.tolist() == [number for number, *_ in NUMBERS]
    assert frame.kind.isin(KINDS).all()
    assert frame.source.str.len().gt(3).all()
    assert (frame.unit != "").all()


@pytest.mark.parametrize("name", swaplib.machines().name)
def test_gfp_atomic_leaves_three_eighths_of_the_min_watermark(name):
    machine = swaplib.machine(name)
    min_pages = math.isqrt(16 * 4 * machine["memory_pages"]) // 4
    assert machine["atomic_reserve_pages"] == 3 * min_pages // 8 < machine["watermark_pages"]


def test_a_zspage_has_as_many_objects_as_its_chain_of_up_to_eight_pages_wastes_least_with():
    size = 1504  # the class of a page at 2.75 to 1, with its handle
    pages = min(range(1, 9), key=lambda pages: pages * 4096 % size)
    assert pages * 4096 // size == Storm("apps").zspage_objects


@pytest.mark.parametrize(("folio_pages", "pages"), [(1, 7 + 19 * 509), (16, 16 * (4 + 19 * 255))])
def test_the_ordinary_gather_is_full_after_as_many_pages_as_since_6_9(folio_pages, pages):
    models = swaplib.machine("lab-1cpu"), swaplib.kernel("6.11"), Storm("one", folio_pages=folio_pages)
    world = prepare(*models, swaplib.policy("sync"), models[2].draw(models[0]))
    assert world.system[0].flush_capacity == pages


@pytest.mark.parametrize("name", ["6.14", "6.18"])
def test_the_device_is_looked_up_before_the_cluster_is_locked(name):
    call, core = swaplib.kernel(name).run
    assert (call.lock, call.children, core.lock) == (Lock.NONE, (), Lock.CLUSTER)


@pytest.mark.parametrize("name", KERNELS)
def test_every_cost_of_a_kernel_has_a_source(name):
    kernel = swaplib.kernel(name)
    costs = [stage.cost for top in (*kernel.single, *kernel.run, *kernel.drain) for stage in top.walk()]
    costs += [value for value in vars(kernel).values() if isinstance(value, Cost)]
    charged = [cost for cost in costs if cost.total_ps()]
    assert charged
    assert all(cost.source for cost in charged)


def where(holds):
    return [name for name in KERNELS if holds(swaplib.kernel(name))]


def locks(kernel):
    return {stage.lock.name for top in (*kernel.run, *kernel.drain) for stage in top.walk()}


def test_the_generations_differ_as_their_changes_say():
    assert where(lambda kernel: kernel.slot_cache_entries == 64) == WITH_SLOT_CACHE
    assert where(lambda kernel: "device lock" in kernel.features) == WITH_SLOT_CACHE
    assert where(lambda kernel: kernel.native_call == "entry") == ["6.1", "6.11"]
    assert where(lambda kernel: kernel.ordered_single) == ["6.1"]
    assert where(lambda kernel: "POOL" in locks(kernel)) == ["6.1"]
    assert where(lambda kernel: not {"POOL", "POOL_READERS"} & set(locks(kernel))) == ["mm-2026-06"]
    assert where(lambda kernel: "CLUSTER" in locks(kernel)) == ["6.14", "6.18", "mm-2026-06"]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("kernel", KERNELS)
def test_a_policy_runs_on_a_kernel_or_is_refused_as_its_table_says(policy, kernel):
    fits = swaplib.policies().set_index("name").loc[policy, "kernels"]
    models = swaplib.machine("lab-2cpu"), swaplib.kernel(kernel), swaplib.policy(policy)
    if fits == "all" or kernel in fits.split(", "):
        storm = swaplib.storm("lab", processes=4, mb=1, swap_permille=800, foreground=False)
        summary = swaplib.simulate(*models[:2], storm, models[2]).summary()
        assert not summary.timed_out
        freed = summary.entries_sync + summary.entries_async + summary.entries_reaped + summary.stranded
        assert freed == 4 * 204
    else:
        refusal = f"policy '{policy}' needs the .* kernel '{kernel}' does not have"
        with pytest.raises(ValueError, match=refusal):
            check_together(*models)


@pytest.mark.parametrize(
    ("kind", "name", "choices", "message"),
    [
        ("machine", "phone-8g", {}, "machine 'phone-8g' is not known; did you mean 'phone-8gb'"),
        ("machine", "phone-8gb", {"wake": 1}, "machine 'phone-8gb': number is 'wake'; expected one of"),
        ("machine", "phone-8gb", {"wake_ns": -1}, "machine 'phone-8gb': wake_ns is -1"),
        ("kernel", "6.6", {}, "kernel '6.6' has no costs of its own; '6.1' stands for it"),
        ("kernel", "6.11", {"unit": "instructions"}, "kernel with counted instructions is '6.11'; expected"),
        ("storm", "camra", {}, "storm 'camra' is not known; did you mean 'camera'"),
        ("storm", "camera", {"proceses": 1}, "storm 'camera': choice is 'proceses'; expected one of"),
        ("policy", "async_v3", {}, "policy 'async_v3' is not known; did you mean 'async-v3'"),
        ("policy", "none of these", {}, "'none of these' is not known. Known are sync, sync-batched"),
        ("policy", "sync", {"treshold": 1}, "policy 'sync' has no choice 'treshold'; its choices are"),
    ],
)
def test_a_wrong_name_is_refused_with_what_would_be_right(kind, name, choices, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        getattr(swaplib, kind)(name, **choices)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("count = 2", "count = -1", "count is -1; expected a whole number from 1 to 4096"),
        ("count = 2", "count = 1000000000", "count is 1000000000; expected"),
        ("node = 0", "node = 4000000000", "node[0] is 4000000000; expected"),
        ("pod = 0", "", "pod is missing"),
        ("[[cpus]]", "[cpus]", "expected [[cpus]] and [number.NAME] tables"),
        ('preemption = "full"', "", "preemption is missing"),
        ("value = 1000", 'value = "1000"', "cpu_cost_permille is '1000'; expected a whole number"),
        ('kind = "measured"\nsource = "the ref', 'kind = "guess"\nsource = "the ref', "'guess'; expected"),
        ("[number.switch_ns]", "[number.switch]", "number is 'switch'; expected one of"),
        ("name =", "name", "is no TOML file: Expected '=' after a key"),
    ],
)
def test_a_machine_file_that_is_wrong_is_refused_by_what_is_wrong(old, new, message, tmp_path):
    text = (data_folder() / "machines" / "lab-2cpu.toml").read_text(encoding="utf-8")
    (tmp_path / "mine.toml").write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ValueError, match=re.escape(message)):
        swaplib.machine(str(tmp_path / "mine.toml"))


def test_the_camera_is_the_load_and_the_sizes_of_the_mail():
    machine = swaplib.machine("phone-8gb")
    storm = swaplib.storm("camera", machine)
    assert storm.processes == 12
    assert sorted(storm.swap_entries) == sorted(swaplib.load("mail/process_memory").vmswap_kib // 4)
    (load,) = storm.background
    used = load.threads * load.burst_ns * 1024 / load.period_ns
    assert used == pytest.approx(0.6 * sum(machine.capacity), rel=1e-6)
    assert swaplib.storm("camera", machine, background_permille=0).background == ()


FITS = ["camera phone-8gb phone-16gb", "lab lab-1cpu lab-2cpu", "munmap rpi-4b rk3588"]
FITS += ["server server-2x48 server-4x32"]


@pytest.mark.parametrize("names", FITS)
def test_a_storm_fits_its_machines_with_any_seed(names):
    storm, *machines = names.split()
    for machine in map(swaplib.machine, machines):
        for seed in range(100):
            swaplib.storm(storm, machine).draw(machine, seed)
