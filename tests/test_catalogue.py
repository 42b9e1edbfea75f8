"""The catalogue: every name gives a model, every number has a source, every wrong name a suggestion."""

import pandas as pd
import pytest

import swaplib
from swaplib.model.machine import KINDS, NUMBERS
from swaplib.sim.fits import check_together

KERNELS = ["6.1", "6.11", "6.12", "6.14", "6.18", "7.0", "7.x-nopool"]
POLICIES = [
    "sync",
    "sync-batched",
    "gather-sync",
    "slot-cache-async",
    "async-v3",
    "async-per-8",
    "async-per-node",
    "async-list",
    "zram-deferred",
    "reaper",
    "present-first",
    "adaptive",
]
WITH_SLOT_CACHE = {"6.1", "6.11", "6.12"}


def test_the_twelve_policies_stand_in_the_order_of_the_thread():
    frame = swaplib.policies()
    assert frame.name.tolist() == POLICIES
    assert (frame.origin != "").all()
    assert (frame.what != "").all()


def test_the_kernels_stand_in_the_order_of_their_releases():
    assert swaplib.kernels().name.tolist() == KERNELS


@pytest.mark.parametrize(
    ("name", "cpus", "nodes"),
    [
        ("phone-8gb", 8, 1),
        ("phone-16gb", 8, 1),
        ("rpi-4b", 4, 1),
        ("rk3588", 8, 1),
        ("desktop-i7-12700", 20, 1),
        ("lab-1cpu", 1, 1),
        ("lab-2cpu", 2, 1),
        ("server-2x48", 96, 2),
        ("server-4x32", 128, 4),
    ],
)
def test_a_machine_has_its_cpus_and_nodes(name, cpus, nodes):
    machine = swaplib.machine(name)
    assert [machine.cpus, machine.nodes] == [cpus, nodes]
    row = swaplib.machines().set_index("name").loc[name]
    assert [row.cpus, row.nodes] == [cpus, nodes]
    assert max(machine.capacity) == 1024  # the fastest core is the reference


@pytest.mark.parametrize("name", swaplib.machines().name)
def test_every_number_of_a_machine_has_a_unit_a_kind_and_a_source(name):
    frame = swaplib.machine(name).df()
    assert frame.number.tolist() == [number for number, *_ in NUMBERS]
    assert frame.kind.isin(KINDS).all()
    assert frame.source.str.len().gt(3).all()
    assert (frame.unit != "").all()


@pytest.mark.parametrize("name", KERNELS)
def test_every_cost_of_a_kernel_has_a_kind_and_a_source(name):
    kernel = swaplib.kernel(name)
    costs = [stage.cost for top in (*kernel.single, *kernel.run, *kernel.drain) for stage in top.walk()]
    costs += [
        kernel.walk,
        kernel.present,
        kernel.flush,
        kernel.zone,
        kernel.list_push,
        kernel.allocate,
        kernel.compress,
    ]
    charged = [cost for cost in costs if cost.total_ps()]
    assert charged
    assert all(cost.source for cost in charged)


def test_the_generations_differ_as_their_changes_say():
    kernel = {name: swaplib.kernel(name) for name in KERNELS}
    assert [name for name in KERNELS if kernel[name].slot_cache_entries == 64] == ["6.1", "6.11", "6.12"]
    assert [name for name in KERNELS if "device lock" in kernel[name].features] == ["6.1", "6.11", "6.12"]
    assert [name for name in KERNELS if kernel[name].native_call == "entry"] == ["6.1", "6.11"]
    assert [name for name in KERNELS if kernel[name].ordered_single] == ["6.1"]
    assert [name for name in KERNELS if "POOL" not in locks(kernel[name])] == ["7.x-nopool"]
    assert [name for name in KERNELS if "CLUSTER" in locks(kernel[name])] == [
        "6.14",
        "6.18",
        "7.0",
        "7.x-nopool",
    ]


def locks(kernel):
    """Names of the locks that a run takes."""
    return {stage.lock.name for top in (*kernel.run, *kernel.drain) for stage in top.walk() if stage.lock}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("kernel", KERNELS)
def test_a_policy_runs_on_a_kernel_or_is_refused_as_its_table_says(policy, kernel):
    fits = swaplib.policies().set_index("name").loc[policy, "kernels"]
    machine = swaplib.machine("lab-2cpu")
    storm = swaplib.storm("lab", machine, processes=4, mb=1, swap_permille=800, foreground=False)
    if fits == "all" or kernel in fits.split(", "):
        summary = swaplib.simulate(machine, swaplib.kernel(kernel), storm, swaplib.policy(policy)).summary()
        assert not summary.timed_out
        freed = summary.entries_sync + summary.entries_async + summary.entries_reaped + summary.stranded
        assert freed == 4 * 204
    else:
        with pytest.raises(
            ValueError, match=f"policy '{policy}' needs the .* kernel '{kernel}' does not have"
        ):
            check_together(machine, swaplib.kernel(kernel), swaplib.policy(policy))


def test_only_the_slot_caches_policy_lacks_kernels():
    frame = swaplib.policies().set_index("name").kernels
    slot_cache = ", ".join(name for name in KERNELS if name in WITH_SLOT_CACHE)
    assert frame[frame != "all"].to_dict() == {"slot-cache-async": slot_cache}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: swaplib.machine("phone-8g"), "machine 'phone-8g' is not known; did you mean 'phone-8gb'"),
        (lambda: swaplib.kernel("6.10"), "kernel '6.10' is not known; did you mean '6.1"),
        (lambda: swaplib.storm("camra"), "storm 'camra' is not known; did you mean 'camera'"),
        (lambda: swaplib.policy("async_v3"), "policy 'async_v3' is not known; did you mean 'async-v3'"),
        (
            lambda: swaplib.policy("none of these"),
            "policy 'none of these' is not known.*Known are sync, sync-batched",
        ),
        (
            lambda: swaplib.policy("sync", treshold=1),
            "policy 'sync' has no choice 'treshold'; its choices are",
        ),
        (
            lambda: swaplib.storm("camera", proceses=1),
            "storm 'camera': choice is 'proceses'; expected one of",
        ),
        (
            lambda: swaplib.machine("phone-8gb", wake=1),
            "machine 'phone-8gb': number is 'wake'; expected one of",
        ),
        (lambda: swaplib.machine("phone-8gb", wake_ns=-1), "machine 'phone-8gb': wake_ns is -1"),
        (lambda: swaplib.machine("../etc"), r"machine '../etc' is not known"),
        (lambda: swaplib.kernel("costs"), "kernel 'costs' is not known"),
    ],
)
def test_a_wrong_name_is_refused_with_what_would_be_right(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("storm", swaplib.storms().name)
def test_choices_change_what_they_name_and_nothing_else(storm):
    base, changed = swaplib.storm(storm), swaplib.storm(storm, size_classes=7)
    assert changed.size_classes == 7
    assert changed.but(size_classes=base.size_classes) == base


def test_the_camera_is_the_load_and_the_sizes_of_the_mail():
    machine = swaplib.machine("phone-8gb")
    storm = swaplib.storm("camera", machine)
    mail = swaplib.load("mail/process_memory")
    assert storm.processes == 12
    assert sorted(storm.swap_entries) == sorted(mail.vmswap_kib // 4)
    (load,) = storm.background
    assert load.threads * load.burst_ns * 1024 / load.period_ns == pytest.approx(
        0.6 * sum(machine.capacity), rel=1e-6
    )
    assert swaplib.storm("camera", machine, background_permille=0).background == ()


@pytest.mark.parametrize(
    ("storm", "machines"),
    [
        ("camera", ["phone-8gb", "phone-16gb"]),
        ("lab", ["lab-1cpu", "lab-2cpu"]),
        ("munmap", ["rpi-4b", "rk3588", "desktop-i7-12700"]),
        ("server", ["server-2x48", "server-4x32"]),
    ],
)
def test_a_storm_fits_its_machines_with_any_seed(storm, machines):
    for name in machines:
        machine = swaplib.machine(name)
        for seed in range(100):
            swaplib.storm(storm, machine).draw(machine, seed)


def test_frames_say_what_everything_is():
    for frame in (swaplib.machines(), swaplib.kernels(), swaplib.storms(), swaplib.policies()):
        assert isinstance(frame, pd.DataFrame)
        assert frame.name.is_unique
        assert not frame.isna().any().any()
