#!/usr/bin/env python3
"""Writes the machines that nobody here could capture, composed-*.capture, in the form of scripts/capture-host.

Topologies are those of generate.py; the kernel files have the form that the kernel's documentation gives them
(admin-guide/pm/{cpufreq,intel_pstate,amd-pstate,cpuidle}, hw-vuln/*, sysctl/{vm,net,kernel}, ABI/testing/sysfs-*), with values
as the tuning guides name them or as distributions set them. Each machine says in its first line what it stands for.
Run it again after changing one, then VMRUN_UPDATE_GOLDEN=1 on the tests.
"""
import copy
import pathlib

from generate import HOSTS, text as host_json

CPU = "/sys/devices/system/cpu/"
XEON_FLAGS = "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat ht tm pbe syscall nx pdpe1gb rdtscp lm constant_tsc nonstop_tsc cpuid aperfmperf vmx est tsc_known_freq avx avx2 hwp hwp_act_window hwp_epp hwp_pkg_req epb tsc_adjust invpcid avx512f"
VMX_FLAGS = "vnmi preemption_timer posted_intr invvpid ept_x_only ept_ad ept_1gb flexpriority apicv tsc_offset vtpr mtf vapic ept vpid unrestricted_guest vapic_reg vid ple shadow_vmcs pml"
EPYC_FLAGS = "fpu vme de pse tsc msr pae mce cx8 apic sep mtrr ht syscall nx mmxext fxsr_opt pdpe1gb rdtscp lm constant_tsc rep_good nopl nonstop_tsc cpuid aperfmperf svm avx2 cppc npt lbrv avic v_vmsave_vmload vgif"
SAFE = dict.fromkeys(["gather_data_sampling", "itlb_multihit", "l1tf", "mds", "meltdown", "mmio_stale_data", "retbleed", "spec_rstack_overflow",
                      "srbds", "tsx_async_abort"], "Not affected")
SAFE |= {"spec_store_bypass": "Mitigation: Speculative Store Bypass disabled via prctl",
         "spectre_v1": "Mitigation: usercopy/swapgs barriers and __user pointer sanitization",
         "spectre_v2": "Mitigation: Enhanced / Automatic IBRS; IBPB: conditional; RSB filling; PBRSB-eIBRS: SW sequence"}


def all_cpus(machine):
    count = 0
    for core in HOSTS[machine]["cores"]:
        for part in core["cpus"].split(","):
            count = max(count, int(part.split("-")[-1]) + 1)
    return f"{{0-{count - 1}}}" if count > 1 else "0"


def cpuinfo(vendor, flags, vmx=""):
    return [f"processor\t: 0", f"vendor_id\t: {vendor}", f"flags\t\t: {flags}"] + ([f"vmx flags\t: {vmx}"] if vmx else [])


def zoneinfo(*nodes):
    """(node, free MiB, managed MiB, high MiB), one zone each."""
    lines = []
    for node, free, managed, high in nodes:
        low = high * 5 // 6
        lines += [f"Node {node}, zone   Normal", f"  pages free     {free * 256}", f"        min      {high * 2 // 3 * 256}",
                  f"        low      {low * 256}", f"        high     {high * 256}", f"        managed  {managed * 256}"]
    return lines


def node_meminfo(node, file_mib):
    return [f"Node {node} Inactive(file):  {file_mib * 1024} kB", f"Node {node} Active(file):  0 kB"]


def meminfo(swap_kib=0, limit=0, committed=0):
    return [f"SwapTotal:      {swap_kib} kB", f"CommitLimit:    {limit} kB", f"Committed_AS:   {committed} kB"]


def buddy(*nodes):
    """(node, MiB in single pages, MiB in blocks of 4M)."""
    return [f"Node {node}, zone   Normal {small * 256} 0 0 0 0 0 0 0 0 0 {large // 4}" for node, small, large in nodes]


def cpufreq(cpus, driver, governor, most, base=None, epp=None, limit=None):
    files = {f"{CPU}cpu{cpus}/cpufreq/scaling_driver": driver, f"{CPU}cpu{cpus}/cpufreq/scaling_governor": governor,
             f"{CPU}cpu{cpus}/cpufreq/cpuinfo_max_freq": most, f"{CPU}cpu{cpus}/cpufreq/scaling_max_freq": limit or most}
    if base:
        files[f"{CPU}cpu{cpus}/cpufreq/base_frequency"] = base
    if epp:
        files[f"{CPU}cpu{cpus}/cpufreq/energy_performance_preference"] = epp
    return files


def cpuidle(cpus, *states):
    """(name, latency us, disabled)"""
    files = {}
    for number, (name, latency, off) in enumerate((("POLL", 0, 0),) + states):
        files |= {f"{CPU}cpu{cpus}/cpuidle/state{number}/{key}": value for key, value in (("name", name), ("latency", latency), ("disable", off))}
    return files


def vulnerabilities(**changed):
    return {f"{CPU}vulnerabilities/{name}": word for name, word in (SAFE | changed).items()}


def net(core_max, default, tcp, backlog, somaxconn, dropped=0, queues=2):
    return {"/proc/sys/net/core/rmem_max": core_max, "/proc/sys/net/core/wmem_max": core_max, "/proc/sys/net/core/rmem_default": default,
            "/proc/sys/net/core/wmem_default": default, "/proc/sys/net/ipv4/tcp_rmem": tcp, "/proc/sys/net/ipv4/tcp_wmem": tcp,
            "/proc/sys/net/core/netdev_max_backlog": backlog, "/proc/sys/net/core/somaxconn": somaxconn,
            "/proc/net/softnet_stat": [f"{4096 + n:08x} {dropped:08x} 00000000" for n in range(queues)]}


DEFAULT_NET = dict(core_max=212992, default=212992, tcp="4096\t131072\t6291456", backlog=1000, somaxconn=4096)
TUNED_NET = dict(core_max=16777216, default=1048576, tcp="4096\t1048576\t16777216", backlog=5000, somaxconn=65535)


def disk(name, scheduler, requests, rotational=0, cache="write back", discard=2199023255040):
    queue = f"/sys/block/{name}/queue/"
    return {queue + "scheduler": scheduler, queue + "nr_requests": requests, queue + "rotational": rotational, queue + "write_cache": cache,
            queue + "discard_max_bytes": discard}


def pci(address, kind, node=None, driver=None, group=None, link=None, vfs=None, irqs=()):
    """link: (speed, width, most speed, most width)."""
    path = f"/sys/bus/pci/devices/{address}/"
    files = {path + "class": kind}
    if node is not None:
        files[path + "numa_node"] = node
    if link:
        files |= dict(zip((path + "current_link_speed", path + "current_link_width", path + "max_link_speed", path + "max_link_width"), link))
    if vfs:
        files |= {path + "sriov_totalvfs": vfs[0], path + "sriov_numvfs": vfs[1]}
    if driver:
        files[path + "driver"] = ("->", driver)
    if group is not None:
        files[path + "iommu_group"] = ("->", str(group))
    for irq, name, cpus in irqs:
        files |= {f"{path}msi_irqs/{irq}": "", f"/proc/irq/{irq}/effective_affinity_list": cpus, f"/proc/irq/{irq}/{name}": "/"}
    return files


def modules(**parameters):
    return {f"/sys/module/{key.split('__')[0]}/parameters/{key.split('__')[1]}": value for key, value in parameters.items()}


def bridge(name, mtu, *ports):
    files = {f"/sys/class/net/{name}/mtu": mtu, f"/sys/class/net/{name}/bridge": "/"}
    for port, port_mtu, real in ports:
        files |= {f"/sys/class/net/{name}/brif/{port}": "", f"/sys/class/net/{port}/mtu": port_mtu}
        if real:
            files[f"/sys/class/net/{port}/device"] = "/"
    return files


def service(name, runs):
    return {f"/sys/fs/cgroup/system.slice/{name}.service/cgroup.procs": "1" if runs else ""}


LIMITED = {"/proc/self/limits": ["Limit                     Soft Limit           Hard Limit           Units",
                                 "Max locked memory         8388608              8388608              bytes"],
           "/proc/self/status": ["CapEff:\t0000000000000000"]}
ROOT = {"/proc/self/limits": LIMITED["/proc/self/limits"], "/proc/self/status": ["CapEff:\t000001ffffffffff"]}
TSC = {"/sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc",
       "/sys/devices/system/clocksource/clocksource0/available_clocksource": "tsc hpet acpi_pm"}
VM = "/proc/sys/vm/"
XEON_ISOLATED = "4-35,40-71,76-107,112-143"
XEON_HOUSEKEEPING = "0000,0000f000,00000f00,000000f0,0000000f"  # 0-3,36-39,72-75,108-111


def xeon_kvm(**changed):
    return modules(**({"kvm__pi_inject_timer": "1", "kvm__halt_poll_ns": 200000, "kvm__halt_poll_ns_grow": 2, "kvm__nx_huge_pages": "N",
                       "kvm_intel__ept": "Y", "kvm_intel__vpid": "Y", "kvm_intel__enable_apicv": "Y", "kvm_intel__nested": "N",
                       "kvm_intel__ple_gap": 0} | changed))


MACHINES = {
    "xeon-tuned": ("xeon-2s-144", "2 sockets, intel_pstate, isolcpus and nohz_full by tuned's cpu-partitioning, as guides 001 and 002 end up", {
        "/proc/cmdline": f"isolcpus=managed_irq,domain,{XEON_ISOLATED} nohz_full={XEON_ISOLATED} rcu_nocbs={XEON_ISOLATED} intel_iommu=on iommu=pt hugepagesz=1G hugepages=8",
        "/proc/cpuinfo": cpuinfo("GenuineIntel", XEON_FLAGS, VMX_FLAGS),
        CPU + "isolated": XEON_ISOLATED, CPU + "nohz_full": XEON_ISOLATED, CPU + "smt/control": "on",
        CPU + "intel_pstate/status": "active", CPU + "intel_pstate/no_turbo": 0, CPU + "intel_pstate/energy_efficiency": 0,
        **cpufreq("{0-143}", "intel_pstate", "performance", 3500000, 2400000, "performance"),
        **cpuidle("{0-143}", ("C1", 1, 0), ("C1E", 4, 1), ("C6", 170, 1)),
        CPU + "cpu{0-143}/power/energy_perf_bias": 0, CPU + "cpu{0-143}/microcode/version": "0xd0003a5",
        **vulnerabilities(), **TSC, **ROOT, **xeon_kvm(),
        "/dev/kvm": "", "/dev/vhost-net": "", "/sys/module/vhost_net/parameters/experimental_zcopytx": 0,
        "/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts": "N",
        "/proc/irq/default_smp_affinity": XEON_HOUSEKEEPING,
        "/sys/devices/virtual/workqueue/cpumask": XEON_HOUSEKEEPING,
        "/etc/tuned/active_profile": "cpu-partitioning", **service("tuned", True), **service("irqbalance", True),
        "/proc/meminfo": meminfo(), VM + "min_free_kbytes": 524288, "/proc/zoneinfo": zoneinfo((0, 60000, 128530, 400), (1, 5288, 129002, 400)),
        "/proc/buddyinfo": buddy((0, 1000, 59000), (1, 500, 4700)), VM + "overcommit_memory": 1, VM + "swappiness": 10, VM + "zone_reclaim_mode": 0,
        VM + "nr_overcommit_hugepages": 0, "/proc/sys/kernel/numa_balancing": 0, "/proc/sys/kernel/io_uring_disabled": 0,
        "/proc/sys/fs/aio-nr": 0, "/proc/sys/fs/aio-max-nr": 1048576,
        "/sys/kernel/mm/transparent_hugepage/enabled": "[always] madvise never",
        "/sys/kernel/mm/transparent_hugepage/defrag": "always defer defer+madvise [madvise] never",
        "/sys/kernel/mm/ksm/run": 0, "/sys/kernel/mm/ksm/merge_across_nodes": 1,
        "/sys/devices/system/node/node0/hugepages/hugepages-1048576kB/nr_hugepages": 8,
        **net(**TUNED_NET), **bridge("br0", 9000, ("ens1f0", 9000, True), ("vnet0", 9000, False)),
        **disk("nvme0n1", "[none] mq-deadline kyber bfq", 1023),
        "/sys/class/iommu/dmar0/intel-iommu/cap": "8d2078c106f0466", "/sys/class/iommu/dmar1/intel-iommu/cap": "8d2078c106f0466",
        "/sys/firmware/acpi/tables/DMAR": "", "/sys/kernel/iommu_groups/{0-3}/type": "identity",
        **pci("0000:31:00.0", "0x020000", 0, "ice", 1, ("16.0 GT/s PCIe", 16, "16.0 GT/s PCIe", 16), (128, 8), ((120, "ice-ens1f0-TxRx-0", 0), (121, "ice-ens1f0-TxRx-1", 1))),
        **pci("0000:b1:00.0", "0x010802", 1, "nvme", 2, ("16.0 GT/s PCIe", 4, "16.0 GT/s PCIe", 4)),
        **pci("0000:76:00.0", "0x0b4000", 0, "4xxx", 3, ("16.0 GT/s PCIe", 16, "16.0 GT/s PCIe", 16), (16, 16)),
        "/sys/bus/nd/devices/namespace0.0/size": 135289372672, "/sys/bus/nd/devices/namespace0.0/holder_class": "dax",
    }),
    "xeon-untuned": ("xeon-2s-144", "the same machine as a distribution and some bad luck leave it: most of what the guides speak of is wrong", {
        "/proc/cmdline": "intremap=nopost",
        "/proc/cpuinfo": cpuinfo("GenuineIntel", XEON_FLAGS, VMX_FLAGS),
        CPU + "isolated": "", CPU + "smt/control": "on",
        CPU + "intel_pstate/status": "active", CPU + "intel_pstate/no_turbo": 1, CPU + "intel_pstate/energy_efficiency": 1,
        **cpufreq("{0-143}", "intel_pstate", "powersave", 3500000, 2400000, "balance_performance", 2400000),
        **cpuidle("{0-143}", ("C1", 1, 0), ("C1E", 4, 0), ("C6", 170, 0)),
        CPU + "cpu{0-143}/power/energy_perf_bias": 6, CPU + "cpu{0-71}/microcode/version": "0xd000311", CPU + "cpu{72-143}/microcode/version": "0xd0003a5",
        **vulnerabilities(mmio_stale_data="Mitigation: Clear CPU buffers; SMT vulnerable", gather_data_sampling="Vulnerable: No microcode"), **TSC, **LIMITED,
        **xeon_kvm(kvm__pi_inject_timer="0", kvm__halt_poll_ns=0, kvm__nx_huge_pages="Y", kvm_intel__vpid="N", kvm_intel__enable_apicv="N", kvm_intel__nested="Y", kvm_intel__ple_gap=128),
        "/dev/kvm": "", "/sys/module/vhost_net/parameters/experimental_zcopytx": 1,
        "/etc/tuned/active_profile": "balanced", **service("tuned", True), **service("irqbalance", True), **service("ksmtuned", True),
        "/proc/irq/default_smp_affinity": "ffff,ffffffff,ffffffff,ffffffff,ffffffff", "/sys/devices/virtual/workqueue/cpumask": "ffff,ffffffff,ffffffff,ffffffff,ffffffff",
        "/proc/meminfo": meminfo(8388604, 140000000, 130000000), VM + "min_free_kbytes": 10485760, "/proc/zoneinfo": zoneinfo((0, 70019, 128530, 7680), (1, 5288, 129002, 7680)),
        "/sys/devices/system/node/node1/meminfo": node_meminfo(1, 100),
        "/proc/buddyinfo": buddy((0, 40000, 30000), (1, 5000, 200)), VM + "overcommit_memory": 2, VM + "swappiness": 60, VM + "zone_reclaim_mode": 1,
        VM + "nr_overcommit_hugepages": 4096, "/proc/sys/kernel/numa_balancing": 1, "/proc/sys/kernel/io_uring_disabled": 2,
        "/proc/sys/fs/aio-nr": 65000, "/proc/sys/fs/aio-max-nr": 65536,
        "/sys/kernel/mm/transparent_hugepage/enabled": "[always] madvise never", "/sys/kernel/mm/transparent_hugepage/defrag": "[always] defer defer+madvise madvise never",
        "/sys/kernel/mm/ksm/run": 1, "/sys/kernel/mm/ksm/merge_across_nodes": 1,
        **net(**DEFAULT_NET, dropped=37), **{f"/proc/sys/net/bridge/bridge-nf-call-{what}": 1 for what in ("iptables", "ip6tables", "arptables")},
        **bridge("br0", 1500, ("ens1f0", 9000, True)), **bridge("virbr0", 1500, ("vnet0", 1500, False)),
        **disk("nvme0n1", "none [mq-deadline] kyber bfq", 256),
        "/sys/firmware/acpi/tables/DMAR": "",
        **pci("0000:31:00.0", "0x020000", 0, "ice", None, ("16.0 GT/s PCIe", 8, "16.0 GT/s PCIe", 16), (128, 0), ((120, "ice-ens1f0-TxRx-0", 40), (121, "ice-ens1f0-TxRx-1", 1))),
        **pci("0000:b1:00.0", "0x010802", -1, "nvme", None, ("8.0 GT/s PCIe", 4, "16.0 GT/s PCIe", 4)),
        "/sys/bus/nd/devices/namespace0.0/size": 135289372672, "/sys/bus/nd/devices/namespace0.0/holder_class": "pfn",
    }),
    "epyc": ("epyc-8n-16l3", "2 sockets in NPS4 under a distribution's defaults: acpi-cpufreq, AVIC off, IOMMU translating for the host", {
        "/proc/cmdline": "amd_iommu_intr=vapic",
        "/proc/cpuinfo": cpuinfo("AuthenticAMD", EPYC_FLAGS), CPU + "isolated": "", CPU + "smt/control": "on", CPU + "cpufreq/boost": 1,
        **cpufreq("{0-127}", "acpi-cpufreq", "schedutil", 2800000), **cpuidle("{0-127}", ("C1", 1, 0), ("C2", 400, 0)),
        CPU + "cpu{0-127}/microcode/version": "0xa0011d1",
        **vulnerabilities(spec_rstack_overflow="Mitigation: Safe RET", retbleed="Not affected"), **TSC, **ROOT,
        **modules(kvm__pi_inject_timer="0", kvm__halt_poll_ns=200000, kvm__halt_poll_ns_grow=0, kvm__nx_huge_pages="N", kvm_amd__npt="Y", kvm_amd__avic="N", kvm_amd__nested="1",
                  kvm_amd__pause_filter_count=3000),
        "/dev/kvm": "", "/dev/vhost-net": "",
        "/proc/meminfo": meminfo(2097148), VM + "min_free_kbytes": 90112, "/proc/zoneinfo": zoneinfo(*((n, 60000, 64000, 20) for n in range(8))),
        "/proc/buddyinfo": buddy(*((n, 2000, 58000) for n in range(8))), VM + "overcommit_memory": 0, VM + "swappiness": 60, VM + "zone_reclaim_mode": 0,
        VM + "nr_overcommit_hugepages": 0, "/proc/sys/kernel/numa_balancing": 1, "/proc/sys/kernel/io_uring_disabled": 0, "/proc/sys/fs/aio-nr": 0, "/proc/sys/fs/aio-max-nr": 65536,
        "/sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never", "/sys/kernel/mm/transparent_hugepage/defrag": "always defer defer+madvise [madvise] never",
        "/sys/kernel/mm/ksm/run": 0, **net(**DEFAULT_NET), **bridge("br0", 1500, ("ens5f0np0", 1500, True)), **service("irqbalance", True),
        "/proc/irq/default_smp_affinity": "ffffffff,ffffffff,ffffffff,ffffffff", "/sys/devices/virtual/workqueue/cpumask": "ffffffff,ffffffff,ffffffff,ffffffff",
        **disk("nvme0n1", "[none] mq-deadline", 1023), "/sys/class/iommu/ivhd0": "/", "/sys/firmware/acpi/tables/IVRS": "", "/sys/kernel/iommu_groups/{0-2}/type": "DMA-FQ",
        **pci("0000:a1:00.0", "0x020000", 5, "mlx5_core", 1, ("16.0 GT/s PCIe", 16, "16.0 GT/s PCIe", 16), (8, 0), ((140, "mlx5_comp0", 80),)),
        **pci("0000:61:00.0", "0x010802", 2, "nvme", 2, ("16.0 GT/s PCIe", 4, "16.0 GT/s PCIe", 4)),
    }),
    "epyc-avic": ("epyc-8n-16l3", "the same with amd-pstate, AVIC and iommu=pt, guests that run VMs, and 8 node's CPUs partly set aside", {
        "/proc/cmdline": "amd_pstate=active iommu=pt isolcpus=8-15,72-79 rcu_nocbs=8-15,72-79",
        "/proc/cpuinfo": cpuinfo("AuthenticAMD", EPYC_FLAGS), CPU + "isolated": "8-15,72-79", CPU + "nohz_full": "(null)", CPU + "smt/control": "on", CPU + "cpufreq/boost": 0,
        **cpufreq("{0-127}", "amd-pstate-epp", "powersave", 3700000, epp="power"), **cpuidle("{0-127}", ("C1", 1, 0), ("C2", 400, 1)),
        CPU + "cpu{0-127}/microcode/version": "0xa0011d1",
        **vulnerabilities(), **TSC, **ROOT,
        **modules(kvm__pi_inject_timer="0", kvm__halt_poll_ns=2000000, kvm__halt_poll_ns_grow=2, kvm__nx_huge_pages="N", kvm_amd__npt="Y", kvm_amd__avic="Y", kvm_amd__nested="1",
                  kvm_amd__pause_filter_count=0),
        "/dev/kvm": "", "/dev/vhost-net": "", "/sys/module/vhost_net/parameters/experimental_zcopytx": 0,
        "/proc/meminfo": meminfo(0), VM + "min_free_kbytes": 90112, "/proc/zoneinfo": zoneinfo(*((n, 60000, 64000, 20) for n in range(8))),
        "/proc/buddyinfo": buddy(*((n, 2000, 58000) for n in range(8))), VM + "overcommit_memory": 0, VM + "swappiness": 1, VM + "zone_reclaim_mode": 0,
        "/proc/sys/kernel/numa_balancing": 0, "/proc/sys/fs/aio-nr": 0, "/proc/sys/fs/aio-max-nr": 65536,
        "/sys/kernel/mm/transparent_hugepage/enabled": "always madvise [never]", "/sys/kernel/mm/transparent_hugepage/defrag": "always defer defer+madvise [madvise] never",
        "/sys/kernel/mm/ksm/run": 2, **net(**DEFAULT_NET), **bridge("br0", 1500, ("ens5f0np0", 1500, True)), **service("irqbalance", True),
        "/proc/irq/default_smp_affinity": "ffffffff,ffffffff,ffffffff,ffffffff", "/sys/devices/virtual/workqueue/cpumask": "ffffffff,ffffffff,ffffffff,ffffffff",
        **disk("nvme0n1", "[none] mq-deadline", 1023), "/sys/class/iommu/ivhd0": "/", "/sys/firmware/acpi/tables/IVRS": "", "/sys/kernel/iommu_groups/{0-2}/type": "identity",
        **pci("0000:a1:00.0", "0x020000", 5, "mlx5_core", 1, ("16.0 GT/s PCIe", 16, "16.0 GT/s PCIe", 16), (8, 8), ((140, "mlx5_comp0", 40), (141, "mlx5_comp1", "8-15"))),
        "/proc/701/stat": "701 (CPU 0/KVM) S 1 0 0 0 0 0 0 0 0 0 900 100 0 0 20 0 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 8",
        "/proc/702/stat": "702 (kworker/9:1) S 2 0 0 0 0 69238880 0 0 0 0 0 1 0 0 20 0 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 9",
        "/proc/703/stat": "703 (a (strange) name) S 1 0 0 0 0 4194304 0 0 0 0 5 1 0 0 20 0 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 72",
    }),
    "hybrid-laptop": ("hybrid-8p8e", "P- and E-cores, power-profiles-daemon, no IOMMU in the firmware, a disk that spins", {
        "/proc/cmdline": "", "/proc/cpuinfo": cpuinfo("GenuineIntel", XEON_FLAGS.replace(" avx512f", ""), VMX_FLAGS.replace("posted_intr ", "").replace("apicv ", "")),
        CPU + "isolated": "", CPU + "smt/control": "on", CPU + "intel_pstate/status": "passive", CPU + "intel_pstate/no_turbo": 0,
        **cpufreq("{0-15}", "intel_cpufreq", "schedutil", 5100000, 3200000), **cpufreq("{16-23}", "intel_cpufreq", "powersave", 3900000, 2400000),
        **cpuidle("{0-23}", ("C1_ACPI", 1, 0), ("C2_ACPI", 127, 0), ("C3_ACPI", 1048, 0)),
        CPU + "cpu{0-15}/microcode/version": "0x2e", CPU + "cpu{16-23}/microcode/version": "0x2e", **vulnerabilities(), **TSC, **LIMITED,
        **xeon_kvm(kvm__pi_inject_timer="0", kvm_intel__enable_apicv="N", kvm_intel__nested="Y", kvm_intel__ple_gap=128),
        "/dev/kvm": "", "/dev/vhost-net": "", **service("power-profiles-daemon", True),
        "/proc/meminfo": meminfo(16777212), VM + "min_free_kbytes": 67584, "/proc/zoneinfo": zoneinfo((0, 9000, 63000, 90)), "/proc/buddyinfo": buddy((0, 6000, 3000)),
        VM + "overcommit_memory": 0, VM + "swappiness": 60, VM + "zone_reclaim_mode": 0, "/proc/sys/kernel/numa_balancing": 0, "/proc/sys/kernel/io_uring_disabled": 1,
        "/proc/sys/fs/aio-nr": 0, "/proc/sys/fs/aio-max-nr": 65536,
        "/sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never", "/sys/kernel/mm/transparent_hugepage/defrag": "always defer defer+madvise [madvise] never",
        "/sys/kernel/mm/ksm/run": 0, **net(**DEFAULT_NET | dict(somaxconn=128)), **bridge("virbr0", 1500), "/sys/kernel/iommu_groups": "/",
        **disk("nvme0n1", "none [mq-deadline]", 64), **disk("sda", "[none] mq-deadline", 64, 1, "write through", 0),
        **pci("0000:01:00.0", "0x030000", -1, "nouveau", None, ("2.5 GT/s PCIe", 16, "16.0 GT/s PCIe", 16)), **pci("0000:02:00.0", "0x010802", -1, "nvme", None, ("16.0 GT/s PCIe", 4, "16.0 GT/s PCIe", 4)),
    }),
    "aws-metal": ("c5n-metal", "c5n.metal as guide 004 tunes it: buffers, bridge at 9000, br_netfilter loaded and off, huge pages on one node only", {
        "/proc/cmdline": "", "/proc/cpuinfo": cpuinfo("GenuineIntel", XEON_FLAGS, VMX_FLAGS), CPU + "isolated": "", CPU + "smt/control": "on",
        CPU + "intel_pstate/status": "active", CPU + "intel_pstate/no_turbo": 0, **cpufreq("{0-71}", "intel_pstate", "performance", 3500000, 3000000, "performance"),
        **cpuidle("{0-71}", ("C1", 2, 0), ("C1E", 10, 1), ("C6", 133, 1)), CPU + "cpu{0-71}/power/energy_perf_bias": 0, CPU + "cpu{0-71}/microcode/version": "0x2007006",
        **vulnerabilities(itlb_multihit="KVM: Mitigation: VMX disabled", l1tf="Mitigation: PTE Inversion; VMX: conditional cache flushes, SMT vulnerable",
                          mds="Mitigation: Clear CPU buffers; SMT vulnerable", retbleed="Mitigation: IBRS"), **TSC, **ROOT,
        **xeon_kvm(kvm__nx_huge_pages="Y", kvm_intel__ple_gap=128, kvm__pi_inject_timer="0"), "/dev/kvm": "", "/dev/vhost-net": "", "/sys/module/vhost_net/parameters/experimental_zcopytx": 0,
        "/proc/meminfo": meminfo(), VM + "min_free_kbytes": 262144, "/proc/zoneinfo": zoneinfo((0, 80000, 96000, 200), (1, 90000, 96000, 200)), "/proc/buddyinfo": buddy((0, 1000, 79000), (1, 1000, 89000)),
        VM + "overcommit_memory": 0, VM + "swappiness": 60, VM + "zone_reclaim_mode": 0, "/proc/sys/kernel/numa_balancing": 1, "/proc/sys/fs/aio-nr": 128, "/proc/sys/fs/aio-max-nr": 65536,
        "/sys/kernel/mm/transparent_hugepage/enabled": "[always] madvise never", "/sys/kernel/mm/transparent_hugepage/defrag": "always defer defer+madvise [madvise] never", "/sys/kernel/mm/ksm/run": 0,
        **net(**TUNED_NET), **{f"/proc/sys/net/bridge/bridge-nf-call-{what}": 0 for what in ("iptables", "ip6tables", "arptables")}, **bridge("virbr0", 9000, ("vnet0", 9000, False)),
        **disk("nvme0n1", "[none] mq-deadline", 31), **disk("nvme1n1", "[none] mq-deadline", 31), **service("irqbalance", False),
        "/sys/class/iommu/dmar0/intel-iommu/cap": "d2078c106f0466", "/sys/firmware/acpi/tables/DMAR": "", "/sys/kernel/iommu_groups/{0-1}/type": "identity",
        **pci("0000:05:00.0", "0x020000", 0, "ena", 1, ("8.0 GT/s PCIe", 8, "8.0 GT/s PCIe", 8)),
    }),
    "old-server": ("rocky-2s", "two sockets that the firmware interleaves to one node, VT-x off, a clock that is not trusted", {
        "/proc/cmdline": "tsc=unstable numa=off nosmt", "/proc/cpuinfo": cpuinfo("GenuineIntel", "fpu tsc msr pae apic ht constant_tsc est"), CPU + "isolated": "", CPU + "smt/control": "off",
        CPU + "cpufreq/boost": 1, **cpufreq("{0-31}", "acpi-cpufreq", "powersave", 2900000), **cpuidle("{0-31}", ("C1", 3, 0), ("C3", 64, 0)), CPU + "cpu{0-31}/microcode/version": "0x5003302",
        CPU + "cpu{0-31}/power/energy_perf_bias": 15, **vulnerabilities(mds="Vulnerable: Clear CPU buffers attempted, no microcode"), **ROOT,
        "/sys/devices/system/clocksource/clocksource0/current_clocksource": "hpet", "/sys/devices/system/clocksource/clocksource0/available_clocksource": "hpet acpi_pm",
        "/proc/meminfo": meminfo(), VM + "min_free_kbytes": 67584, "/proc/zoneinfo": zoneinfo((0, 100, 128000, 90)), "/proc/buddyinfo": buddy((0, 60, 40)), VM + "overcommit_memory": 0, VM + "swappiness": 60,
        VM + "zone_reclaim_mode": 0, "/proc/sys/kernel/numa_balancing": 0, "/proc/sys/fs/aio-nr": 0, "/proc/sys/fs/aio-max-nr": 65536,
        "/sys/kernel/mm/transparent_hugepage/enabled": "[always] madvise never", "/sys/kernel/mm/transparent_hugepage/defrag": "always defer defer+madvise [madvise] never", "/sys/kernel/mm/ksm/run": 0,
        **net(**DEFAULT_NET), **disk("sda", "[mq-deadline] none", 64, 1), "/sys/kernel/iommu_groups": "/",
        **pci("0000:03:00.0", "0x010700", -1, "megaraid_sas", None, ("8.0 GT/s PCIe", 8, "8.0 GT/s PCIe", 8)),
    }),
    "desktop-vfio": ("laptop-4c", "a desktop of which a graphics card is passed through: shared groups, ACS override, idle=poll, KVM without EPT", {
        "/proc/cmdline": "intel_iommu=on iommu=pt pcie_acs_override=downstream,multifunction idle=poll mitigations=off intel_pstate=disable isolcpus=2,3 nohz_full=1-3 irqaffinity=0",
        "/proc/cpuinfo": cpuinfo("GenuineIntel", XEON_FLAGS), CPU + "isolated": "2-3", CPU + "smt/control": "on", CPU + "nohz_full": "1-3",
        "/etc/tuned/active_profile": "cpu-partitioning", **service("tuned", True),
        **cpufreq("{0-7}", "acpi-cpufreq", "ondemand", 4900000), **cpuidle("{0-7}", ("C1", 2, 0), ("C6", 85, 0)), CPU + "cpufreq/boost": 1, CPU + "cpu{0-7}/microcode/version": "0xf4",
        **vulnerabilities(spec_store_bypass="Vulnerable", itlb_multihit="KVM: Vulnerable"), **TSC, **ROOT,
        **xeon_kvm(kvm_intel__ept="N", kvm_intel__enable_apicv="N", kvm__pi_inject_timer="1"), "/dev/kvm": "", "/dev/vhost-net": "", "/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts": "Y",
        "/proc/irq/default_smp_affinity": "01", "/sys/devices/virtual/workqueue/cpumask": "f3",
        "/proc/irq/130/effective_affinity_list": "3", "/proc/irq/130/eno1": "/", "/proc/irq/131/effective_affinity_list": "2", "/proc/irq/131/vfio-msi[0](0000:01:00.0)": "/",
        "/proc/meminfo": meminfo(2097148), VM + "min_free_kbytes": 67584, "/proc/zoneinfo": zoneinfo((0, 4000, 16000, 90)), "/proc/buddyinfo": buddy((0, 500, 3500)), VM + "overcommit_memory": 0,
        VM + "swappiness": 10, VM + "zone_reclaim_mode": 0, "/proc/sys/kernel/numa_balancing": 0, "/proc/sys/kernel/io_uring_disabled": 0, "/proc/sys/fs/aio-nr": 0, "/proc/sys/fs/aio-max-nr": 65536,
        "/sys/kernel/mm/transparent_hugepage/enabled": "[always] madvise never", "/sys/kernel/mm/transparent_hugepage/defrag": "always defer defer+madvise [madvise] never", "/sys/kernel/mm/ksm/run": 1,
        **net(**DEFAULT_NET), **bridge("br0", 1500, ("eno1", 1500, True)), **disk("nvme0n1", "[none] mq-deadline", 1023),
        "/sys/class/iommu/dmar0/intel-iommu/cap": "d2008c40660462", "/sys/firmware/acpi/tables/DMAR": "", "/sys/kernel/iommu_groups/{1-2}/type": "identity",
        **pci("0000:01:00.0", "0x030000", -1, "vfio-pci", 1, ("8.0 GT/s PCIe", 16, "8.0 GT/s PCIe", 16)), **pci("0000:01:00.1", "0x040300", -1, "vfio-pci", 1),
        **pci("0000:04:00.0", "0x010802", -1, "nvme", 1, ("8.0 GT/s PCIe", 4, "8.0 GT/s PCIe", 4)), **pci("0000:00:1c.0", "0x060400", -1, "pcieport", 1),
    }),
}


def render(name, topology, what, files):
    machine = copy.deepcopy(HOSTS[topology])
    files = dict(files)
    if name == "old-server":  # interleaved by the firmware: one node for both sockets
        for core in machine["cores"]:
            core["node"] = 0
        machine["nodes"] = [dict(machine["nodes"][0], memory_total=2 * machine["nodes"][0]["memory_total"], distances=[10])]
    if name == "hybrid-laptop":  # a kernel without pools of 1G pages
        machine["nodes"] = [dict(node, pools=node["pools"][:1]) for node in machine["nodes"]]
    if files.get(CPU + "isolated"):
        machine["isolated"] = files[CPU + "isolated"]
    lines = [f"# composed by tests/hosts/compose.py, not captured: {what}", "/vmrun/host.json <"]
    lines += ["\t" + line for line in host_json(name, machine).replace('{"host": ', "", 1).rstrip()[:-1].splitlines()]
    for path, value in files.items():
        if isinstance(value, list):
            lines += [f"{path} <"] + ["\t" + line for line in value]
        elif isinstance(value, tuple):
            lines.append(f"{path} -> {value[1]}")
        elif value == "/":
            lines.append(f"{path}/")
        else:
            lines.append(f"{path} = {value}".rstrip())
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    for name, (topology, what, files) in MACHINES.items():
        (pathlib.Path(__file__).parent / f"composed-{name}.capture").write_text(render(name, topology, what, files))
