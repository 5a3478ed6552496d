#!/usr/bin/env python3
"""Writes the topologies that nobody here could capture, trees/*.capture: the part of /sys and /proc that read_this_host reads,
in the form of scripts/capture-host. Shapes are those of the vendors' public descriptions; each file says in its first line
what it stands for. Run it again after changing one, then VMRUN_UPDATE_GOLDEN=1 on topology_tests.
"""
import pathlib

CPU, NODE = "/sys/devices/system/cpu", "/sys/devices/system/node"
GIB_KIB = 1 << 20


def cpulist(cpus):
    runs, cpus = [], sorted(cpus)
    for cpu in cpus:
        if runs and cpu == runs[-1][1] + 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def mask(cpus, words):
    value = sum(1 << cpu for cpu in cpus)
    return ",".join(f"{value >> 32 * word & 0xffffffff:08x}" for word in reversed(range(words)))


def cores(count, threads=2, start=0, step=None, l3=8, package=1 << 30, die=None, l3_mib=32):
    """count cores; the siblings of one are step apart. l3, package: how many cores share one."""
    step = count if step is None else step
    return [{"cpus": [start + n + t * step for t in range(threads)], "l3": n // l3, "package": n // package, "l3_mib": l3_mib,
             "die": n // (die or package)} for n in range(count)]


def tree(what, machine, nodes, distances, extra=None, vendor="GenuineIntel", model="Composed CPU", offline=()):
    """nodes: id -> (CPUs, GiB in all, GiB free). Distances: id -> row."""
    present = sorted(cpu for core in machine for cpu in core["cpus"])
    words = present[-1] // 32 + 1
    lines = [f"# composed by tests/hosts/compose_trees.py, not captured: {what}"]
    put = lambda path, value: lines.append(f"{path} = {value}".rstrip())
    online = [cpu for cpu in present if cpu not in offline]
    for name, cpus in (("online", online), ("possible", present), ("present", present)):
        put(f"{CPU}/{name}", cpulist(cpus))

    def shared(key):
        groups = {}
        for core in machine:
            groups.setdefault(core[key], set()).update(set(core["cpus"]) - set(offline))
        return [(key, cpus) for key, cpus in groups.items() if cpus]

    for package, cpus in shared("package"):
        at = f"{CPU}/cpu{{{cpulist(cpus)}}}/topology"
        put(f"{at}/physical_package_id", package)
        for name in ("package_cpus", "core_siblings"):
            put(f"{at}/{name}", mask(cpus, words))
    for die, cpus in shared("die"):
        put(f"{CPU}/cpu{{{cpulist(cpus)}}}/topology/die_cpus", mask(cpus, words))
        put(f"{CPU}/cpu{{{cpulist(cpus)}}}/topology/die_id", die)
    sizes = {core["l3"]: core["l3_mib"] for core in machine}
    for l3, cpus in shared("l3"):
        if sizes[l3] == 0:  # no word on caches at all
            continue
        if sizes[l3] is None:  # a cluster without L3: an L2 of its own
            level, index, kib = 2, 2, 2048
        else:
            level, index, kib = 3, 3, sizes[l3] * 1024
        at = f"{CPU}/cpu{{{cpulist(cpus)}}}/cache/index{index}"
        for name, value in (("level", level), ("type", "Unified"), ("size", f"{kib}K"), ("shared_cpu_map", mask(cpus, words)), ("id", l3),
                            ("coherency_line_size", 64), ("number_of_sets", 1), ("physical_line_partition", 1)):
            put(f"{at}/{name}", value)
    for cluster, cpus in shared("cluster") if "cluster" in machine[0] else ():
        put(f"{CPU}/cpu{{{cpulist(cpus)}}}/topology/cluster_id", cluster)
        put(f"{CPU}/cpu{{{cpulist(cpus)}}}/topology/cluster_cpus", mask(cpus, words))
    for number, core in enumerate(machine):
        cpus = [cpu for cpu in core["cpus"] if cpu not in offline]
        if not cpus:
            continue
        at = f"{CPU}/cpu{{{cpulist(cpus)}}}/topology"
        put(f"{at}/core_id", number)
        put(f"{at}/thread_siblings_list", cpulist(cpus))
        for name in ("thread_siblings", "core_cpus"):
            put(f"{at}/{name}", mask(cpus, words))
        if core.get("mhz"):
            put(f"{CPU}/cpu{{{cpulist(cpus)}}}/cpufreq/cpuinfo_max_freq", core["mhz"] * 1000)
            put(f"{CPU}/cpu{{{cpulist(cpus)}}}/cpufreq/base_frequency", core.get("base", 2100) * 1000)
    lines.extend(
        ["/proc/cpuinfo <", "\tprocessor\t: 0", f"\tvendor_id\t: {vendor}", f"\tmodel name\t: {model}"])
    for name in ("online", "possible"):
        put(f"{NODE}/{name}", cpulist(nodes))
    for node, (cpus, total, free) in nodes.items():
        cpus = set(cpus) - set(offline)
        put(f"{NODE}/node{node}/cpulist", cpulist(cpus))
        put(f"{NODE}/node{node}/cpumap", mask(cpus, words))
        put(f"{NODE}/node{node}/distance", " ".join(map(str, distances[node])))
        lines.extend([f"{NODE}/node{node}/meminfo <", f"\tNode {node} MemTotal:       {total * GIB_KIB} kB", f"\tNode {node} MemFree:        {free * GIB_KIB} kB",
                      f"\tNode {node} Inactive(file): 0 kB"])
        for kib in (2048, 1048576):
            for name in ("nr_hugepages", "free_hugepages"):
                put(f"{NODE}/node{node}/hugepages/hugepages-{kib}kB/{name}", 0)
    for path, value in (extra or {}).items():
        if isinstance(value, list):
            lines.extend([f"{path} <"] + ["\t" + line for line in value])
        else:
            put(path, value)
    return "\n".join(lines) + "\n"


def of(machine, numbers):
    """The CPUs of the cores with these numbers."""
    return [cpu for n in numbers for cpu in machine[n]["cpus"]]


def far(count, per_package=1, near=12, other=21):
    return {a: [10 if a == b else near if a // per_package == b // per_package else other for b in range(count)] for a in range(count)}


def status(cpus, mems):
    return ["Name:\tvmrun", f"Cpus_allowed_list:\t{cpus}", f"Mems_allowed_list:\t{mems}"]


def machines():
    m = cores(40, l3=20, package=20, l3_mib=30)  # one L3 each socket; nodes cut it
    yield "snc2", tree("2 sockets in SNC2: an L3 of two nodes", m, {n: (of(m, range(10 * n, 10 * n + 10)), 96, 90) for n in range(4)}, far(4, 2, 11))
    m = cores(96, l3=48, package=48, l3_mib=105)
    yield "snc4", tree("2 sockets in SNC4", m, {n: (of(m, range(12 * n, 12 * n + 12)), 128, 120) for n in range(8)}, far(8, 4))
    m = cores(64, l3=4, package=32, l3_mib=16)
    yield "nps4", tree("2 sockets in NPS4, two L3s a node", m, {n: (of(m, range(8 * n, 8 * n + 8)), 64, 60) for n in range(8)}, far(8, 4, 12, 32), vendor="AuthenticAMD")
    m = cores(32, l3=4, package=16, l3_mib=16)
    yield "l3-as-numa", tree("2 sockets, each L3 is a node", m, {n: (of(m, range(4 * n, 4 * n + 4)), 32, 30) for n in range(8)}, far(8, 4, 11, 32), vendor="AuthenticAMD")
    m = cores(32, l3=8, package=8, l3_mib=16)
    yield "two-packages-per-node", tree("4 packages, 2 in each node", m, {n: (of(m, range(16 * n, 16 * n + 16)), 128, 120) for n in range(2)}, far(2))
    m = cores(32, l3=4, die=8, l3_mib=8)
    yield "2990wx", tree("Threadripper 2990WX: dies 1 and 3 have no memory", m, {n: (of(m, range(8 * n, 8 * n + 8)), 32 * (n % 2 == 0), 30 * (n % 2 == 0)) for n in range(4)},
                         far(4, 1, 10, 16), vendor="AuthenticAMD")
    m = cores(28, l3=14, package=14, l3_mib=35)
    yield "node-0-empty", tree("DIMMs in socket 1 only, and a kernel that knows no node 0: socket 0 is on no node", m, {1: (of(m, range(14, 28)), 128, 120)}, {1: [10]})
    m = cores(32, l3=16, package=16, l3_mib=60)
    yield "cxl", tree("2 sockets and a CXL expander as node 2, without CPUs", m, {0: (of(m, range(16)), 128, 120), 1: (of(m, range(16, 32)), 128, 120), 2: ([], 256, 250)},
                      {0: [10, 21, 14], 1: [21, 10, 24], 2: [14, 24, 10]})
    yield "hbm", tree("Xeon Max in flat mode: nodes 2 and 3 are HBM, without CPUs", m, {0: (of(m, range(16)), 128, 120), 1: (of(m, range(16, 32)), 128, 120), 2: ([], 64, 63), 3: ([], 64, 63)},
                      {0: [10, 21, 13, 23], 1: [21, 10, 23, 13], 2: [13, 23, 10, 23], 3: [23, 13, 23, 10]})
    m = cores(16, l3=8, package=8)
    yield "sparse-ids", tree("nodes 0 and 8, as POWER and some firmware number them", m, {0: (of(m, range(8)), 64, 60), 8: (of(m, range(8, 16)), 64, 60)}, {0: [10, 40], 8: [40, 10]})
    m = [{"cpus": [2 * n, 2 * n + 1], "l3": 0, "l3_mib": 24, "package": 0, "die": 0, "mhz": 5100 if n > 1 else 5300} for n in range(6)]
    m += [{"cpus": [12 + n], "l3": 0, "l3_mib": 24, "package": 0, "die": 0, "mhz": 3800} for n in range(8)]
    m += [{"cpus": [20 + n], "l3": 1, "l3_mib": None, "package": 0, "die": 0, "mhz": 2500} for n in range(2)]
    everything = lambda machine: of(machine, range(len(machine)))
    yield "three-kinds", tree("P-cores, E-cores and two low-power ones outside the L3", m, {0: (everything(m), 64, 56)}, {0: [10]},
                              {"/sys/devices/cpu_core/cpus": "0-11", "/sys/devices/cpu_atom/cpus": "12-21"})
    m = cores(32, l3=8, l3_mib=32)
    for n, core in enumerate(m):
        core["mhz"] = 5352 if n < 16 else 5352 + 160 * (n - 15)
    yield "17-ranks", tree("32 cores, all alike, of 17 boost clocks", m, {0: (everything(m), 256, 240)}, {0: [10]}, vendor="AuthenticAMD")
    m = cores(16, l3=8, l3_mib=96)
    for n, core in enumerate(m):
        core["mhz"] = 5250 if n < 8 else 5700
        core["l3_mib"] = 96 if n < 8 else 32
    yield "x3d", tree("two L3s of 96 and 32 MiB, the smaller one's cores with the higher clock", m, {0: (everything(m), 64, 56)}, {0: [10]}, vendor="AuthenticAMD")
    m = cores(12, l3=4, l3_mib=16)
    for n, core in enumerate(m):
        core["mhz"], core["l3"], core["l3_mib"] = (5100, 0, 16) if n < 4 else (3300, 1, 8)
    yield "dense", tree("4 fast cores with 16 MiB of L3, 8 dense ones with 8 MiB", m, {0: (everything(m), 64, 56)}, {0: [10]}, vendor="AuthenticAMD")
    m = cores(24, l3=24, l3_mib=36)
    for n, core in enumerate(m):
        core["mhz"], core["base"] = 3600, 2800 if n % 3 == 0 else 2100
    yield "sst-bf", tree("prioritised base frequency: 8 of 24 alike cores have a higher one", m, {0: (everything(m), 128, 120)}, {0: [10]})
    m = cores(12, l3=6, l3_mib=32)
    yield "isolcpus", tree("12 cores, the second L3's are isolated; the process runs on the others, as the kernel starts it", m, {0: (everything(m), 64, 58)}, {0: [10]},
                           {f"{CPU}/isolated": "6-11,18-23", "/proc/self/status": status("0-5,12-17", "0")}, vendor="AuthenticAMD")
    m = cores(8, l3=8)
    yield "offline-siblings", tree("three siblings are offline", m, {0: (everything(m), 64, 58)}, {0: [10]}, offline=(9, 10, 15))
    m = cores(8, threads=4, step=8, l3=4, package=4)
    yield "smt4", tree("2 sockets of 4 cores with 4 threads", m, {0: (of(m, range(4)), 64, 58), 1: (of(m, range(4, 8)), 64, 58)}, far(2))
    m = cores(16, l3=8, package=8)
    two = {0: (of(m, range(8)), 64, 58), 1: (of(m, range(8, 16)), 64, 58)}
    yield "cpuset-v2", tree("a batch job of half of socket 1, and 24G, by cgroup v2", m, two, far(2),
                            {"/proc/self/cgroup": ["0::/batch/7/step"], "/sys/fs/cgroup/batch/7/cpuset.cpus.effective": "12-15,28-31", "/sys/fs/cgroup/batch/7/cpuset.mems.effective": "1",
                             "/sys/fs/cgroup/batch/7/memory.max": 25769803776, "/sys/fs/cgroup/batch/7/memory.current": 1073741824,
                             "/sys/fs/cgroup/batch/7/memory.stat": ["anon 0", "inactive_file 1073741824"], "/sys/fs/cgroup/batch/memory.max": "max",
                             "/proc/self/status": status("12-15,28-31", "1")})
    yield "huge-pages-count", tree("a unit with MemoryMax=6G, where cgroup2 counts huge pages as well", m, two, far(2),
                                   {"/proc/self/cgroup": ["0::/system.slice/vm.service"], "/sys/fs/cgroup/system.slice/vm.service/memory.max": 6 << 30,
                                    "/sys/fs/cgroup/system.slice/vm.service/memory.current": 0, "/sys/fs/cgroup/system.slice/vm.service/memory.stat": ["inactive_file 0"],
                                    "/proc/self/mountinfo": ["26 20 0:23 / /sys rw shared:2 - sysfs sysfs rw", "30 26 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot,memory_hugetlb_accounting"],
                                    "/proc/self/status": status("0-31", "0-1")})
    yield "cpuset-v1", tree("a container of 4 threads of socket 0, by cgroup v1", m, two, far(2),
                            {"/proc/self/cgroup": ["11:cpuset:/docker/1", "4:memory:/docker/1", "0::/"], "/sys/fs/cgroup/cpuset/docker/1/cpuset.effective_cpus": "2-3,18-19",
                             "/sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes": 8589934592, "/sys/fs/cgroup/memory/docker/1/memory.usage_in_bytes": 0,
                             "/sys/fs/cgroup/memory/memory.limit_in_bytes": 9223372036854771712, "/proc/self/status": status("2-3,18-19", "0")})
    yield "hugetlb-v2", tree("a unit that may have 4G of 2M pages and none of 1G, by cgroup v2's controller hugetlb; the group above it less, of 2M", m, two, far(2),
                             {"/proc/self/cgroup": ["0::/vms.slice/a.service"], "/sys/fs/cgroup/vms.slice/a.service/hugetlb.2MB.max": 4 << 30,
                              "/sys/fs/cgroup/vms.slice/a.service/hugetlb.2MB.current": 0, "/sys/fs/cgroup/vms.slice/a.service/hugetlb.2MB.rsvd.max": "max",
                              "/sys/fs/cgroup/vms.slice/a.service/hugetlb.1GB.max": 0, "/sys/fs/cgroup/vms.slice/a.service/hugetlb.1GB.current": 0,
                              "/sys/fs/cgroup/vms.slice/hugetlb.2MB.max": 8 << 30, "/sys/fs/cgroup/vms.slice/hugetlb.2MB.current": 5 << 30,
                              "/proc/self/status": status("0-31", "0-1")})
    yield "hugetlb-v1", tree("a batch job that may reserve 4G of 2M pages, by cgroup v1", m, two, far(2),
                             {"/proc/self/cgroup": ["5:hugetlb:/job/7", "0::/"], "/sys/fs/cgroup/hugetlb/job/7/hugetlb.2MB.limit_in_bytes": 9223372036854771712,
                              "/sys/fs/cgroup/hugetlb/job/7/hugetlb.2MB.rsvd.limit_in_bytes": 4 << 30, "/sys/fs/cgroup/hugetlb/job/7/hugetlb.2MB.rsvd.usage_in_bytes": 1 << 30,
                              "/proc/self/status": status("0-31", "0-1")})
    yield "numactl", tree("numactl -N 1 -m 1", m, two, far(2), {"/proc/self/cgroup": ["0::/user.slice"], "/sys/fs/cgroup/cpuset.cpus.effective": "0-31",
                                                                "/proc/self/status": status("8-15,24-31", "0-1"), "/proc/self/numa_maps": ["55d0c0000000 bind:1 file=/usr/bin/vmrun mapped=3 N0=3"]})
    yield "cpuset-memory-elsewhere", tree("numactl -N 0 -m 1: CPUs of one node, memory of the other", m, two, far(2), {"/proc/self/cgroup": ["0::/user.slice"], "/sys/fs/cgroup/cpuset.cpus.effective": "0-31",
                                                                "/proc/self/status": status("0-7,16-23", "0-1"), "/proc/self/numa_maps": ["55d0c0000000 bind:1 file=/usr/bin/vmrun mapped=3 N0=3"]})
    m = [{"cpus": [2 * n, 2 * n + 1], "l3": 0, "l3_mib": 24, "package": 0, "die": 0, "mhz": 5100} for n in range(6)]
    m += [{"cpus": [12 + n], "l3": 0, "l3_mib": 24, "package": 0, "die": 0, "mhz": 3800} for n in range(8)]
    hybrid = {"/sys/devices/cpu_core/cpus": "0-8,10-11", "/sys/devices/cpu_atom/cpus": "12-14,16"}
    yield "hybrid-offline", tree("P- and E-cores; half of the E-cores and a P-core's sibling are offline", m, {0: (everything(m), 64, 56)}, {0: [10]}, hybrid, offline=(9, 15, 17, 18, 19))
    yield "hybrid-isolated", tree("isolcpus names the E-cores", m, {0: (everything(m), 64, 56)}, {0: [10]},
                                  {"/sys/devices/cpu_core/cpus": "0-11", "/sys/devices/cpu_atom/cpus": "12-19", f"{CPU}/isolated": "12-19", "/proc/self/status": status("0-11", "0")})
    yield "hybrid-container", tree("a container of two P-cores and four E-cores", m, {0: (everything(m), 64, 56)}, {0: [10]},
                                   {"/sys/devices/cpu_core/cpus": "0-11", "/sys/devices/cpu_atom/cpus": "12-19", "/proc/self/cgroup": ["0::/docker/2"],
                                    "/sys/fs/cgroup/docker/2/cpuset.cpus.effective": "8-11,16-19", "/sys/fs/cgroup/docker/2/cpuset.mems.effective": "0", "/proc/self/status": status("8-11,16-19", "0")})
    m = cores(8, threads=1, l3=4, package=4)
    for n, core in enumerate(m):
        core["cpus"] = [8 * n]
    yield "holes", tree("2 sockets whose CPUs are numbered 0,8,16,..., as with SMT off on POWER", m, {0: (of(m, range(4)), 64, 58), 1: (of(m, range(4, 8)), 64, 58)}, far(2))
    m = cores(32, l3=4, package=4)
    ring = {a: [10 if a == b else 16 if min((a - b) % 8, (b - a) % 8) == 1 else 22 for b in range(8)] for a in range(8)}
    yield "8-packages", tree("8 packages in a ring, a node each", m, {n: (of(m, range(4 * n, 4 * n + 4)), 64, 60) for n in range(8)}, ring)
    m = cores(40, l3=20, package=20, l3_mib=30)
    yield "snc2-half-empty", tree("2 sockets in SNC2, one node of the first without DIMMs", m, {n: (of(m, range(10 * n, 10 * n + 10)), 96 * (n != 1), 90 * (n != 1)) for n in range(4)}, far(4, 2, 11))
    m = cores(8, threads=4, step=8, l3=8, package=8)
    yield "smt3", tree("4 threads a core, one of each offline", m, {0: (everything(m), 64, 58)}, {0: [10]}, offline=range(24, 32))
    m = cores(72, l3=36, package=36, l3_mib=252)
    yield "snc3", tree("2 sockets in SNC3: an L3 of three nodes", m, {n: (of(m, range(12 * n, 12 * n + 12)), 96, 90) for n in range(6)}, far(6, 3, 12))
    m = cores(48, l3=8, package=16, l3_mib=32)
    yield "nps2-3-packages", tree("3 sockets in NPS2", m, {n: (of(m, range(8 * n, 8 * n + 8)), 64, 60) for n in range(6)}, far(6, 2, 12, 32), vendor="AuthenticAMD")
    m = cores(32, threads=1, l3=16, package=16, l3_mib=114)
    gpus = {n: ([], 0, 0) for n in range(2, 18)} | {2: ([], 96, 95), 10: ([], 96, 95)}
    yield "grace", tree("2 sockets with a GPU each: its memory is node 2 or 10, and seven nodes beside each are for its slices, empty", m,
                        {0: (of(m, range(16)), 480, 470), 1: (of(m, range(16, 32)), 480, 470)} | gpus,
                        {a: [10 if a == b else 40 if max(a, b) < 2 else 80 if min(a, b) < 2 and (max(a, b) < 10) == (min(a, b) == 0) else 120 if min(a, b) < 2 else 255 for b in range(18)]
                         for a in range(18)}, vendor="")
    m = [{"cpus": [2 * n, 2 * n + 1], "l3": 0, "l3_mib": 24, "package": 0, "die": 0, "cluster": n, "mhz": 4800} for n in range(6)]
    m += [{"cpus": [12 + n], "l3": 0, "l3_mib": 24, "package": 0, "die": 0, "cluster": 6 + n // 4, "mhz": 3800} for n in range(8)]
    m += [{"cpus": [20 + n], "l3": 1, "l3_mib": None, "package": 0, "die": 1, "cluster": 8, "mhz": 2500} for n in range(2)]
    yield "low-power-die", tree("P-cores, E-cores in clusters of four, and two low-power ones on another die", m, {0: (everything(m), 64, 56)}, {0: [10]},
                                {"/sys/devices/cpu_core/cpus": "0-11", "/sys/devices/cpu_atom/cpus": "12-21"})
    m = [{"cpus": [n], "l3": 0, "l3_mib": 12, "package": 0, "die": 0, "mhz": 4800} for n in range(4)]
    m += [{"cpus": [4 + n], "l3": 1, "l3_mib": None, "package": 0, "die": 1, "mhz": 3700} for n in range(4)]
    yield "low-power-only", tree("four P-cores without siblings; all E-cores are low-power ones on another die, without L3", m, {0: (everything(m), 32, 28)}, {0: [10]},
                                 {"/sys/devices/cpu_core/cpus": "0-3", "/sys/devices/cpu_atom/cpus": "4-7"})
    m = [{"cpus": list(range(8 * n, 8 * n + 8)), "l3": n, "l3_mib": 10, "package": n // 4, "die": n // 4} for n in range(8)]
    yield "smt8", tree("2 sockets of 4 cores with 8 threads, numbered core by core, nodes 0 and 8, as POWER", m, {0: (of(m, range(4)), 64, 58), 8: (of(m, range(4, 8)), 64, 58)},
                       {0: [10, 40], 8: [40, 10]}, vendor="")
    m = cores(16, l3=8, package=8)
    two = {0: (of(m, range(8)), 64, 58), 1: (of(m, range(8, 16)), 64, 58)}
    yield "offline-package", tree("socket 1 is offline whole; its memory is there", m, two, far(2), offline=of(m, range(8, 16)))
    yield "isolated-node", tree("isolcpus names every CPU of node 1", m, two, far(2), {f"{CPU}/isolated": "8-15,24-31", "/proc/self/status": status("0-7,16-23", "0-1")})
    yield "isolated-unequal", tree("isolcpus names two cores of node 0 and six of node 1", m, two, far(2), {f"{CPU}/isolated": "6-7,10-15,22-23,26-31", "/proc/self/status": status("0-5,8-9,16-21,24-25", "0-1")})
    yield "isolated-threads", tree("isolcpus names one thread of some cores: their siblings were forgotten", m, two, far(2), {f"{CPU}/isolated": "4-7,12-15", "/proc/self/status": status("0-3,8-11,16-31", "0-1")})
    yield "half-smt", tree("all siblings of node 0 are offline, none of node 1's", m, two, far(2), offline=range(16, 24))
    yield "isolated-but-0", tree("isolcpus names all but the first core", m, two, far(2), {f"{CPU}/isolated": "1-15,17-31", "/proc/self/status": status("0,16", "0-1")})
    yield "cpuset-halves", tree("a container of one thread of each core", m, two, far(2),
                                {"/proc/self/cgroup": ["0::/halves"], "/sys/fs/cgroup/halves/cpuset.cpus.effective": "0-15", "/sys/fs/cgroup/halves/cpuset.mems.effective": "0-1", "/proc/self/status": status("0-15", "0-1")})
    yield "nohz-full", tree("nohz_full without isolcpus: the kernel balances there as everywhere", m, two, far(2), {f"{CPU}/nohz_full": "8-15,24-31", f"{CPU}/isolated": "", "/proc/self/status": status("0-31", "0-1")})
    m = cores(32, l3=16, package=16, l3_mib=60)
    yield "hbm-only", tree("no DIMMs: the CPUs' nodes 0 and 1 are empty, all memory is HBM of nodes 2 and 3", m, {0: (of(m, range(16)), 0, 0), 1: (of(m, range(16, 32)), 0, 0), 2: ([], 64, 62), 3: ([], 64, 62)},
                           {0: [10, 21, 13, 23], 1: [21, 10, 23, 13], 2: [13, 23, 10, 23], 3: [23, 13, 23, 10]})
    m = cores(32, l3=8, package=16, l3_mib=60)
    yield "hbm-snc", tree("SNC2 with HBM in flat mode: nodes 4 to 7 are HBM, each nearest to one of 0 to 3", m,
                          {n: (of(m, range(8 * n, 8 * n + 8)), 64, 60) for n in range(4)} | {n: ([], 16, 15) for n in range(4, 8)},
                          {a: [10 if a == b else 13 if a % 4 == b % 4 else (12 if a // 2 % 2 == b // 2 % 2 else 21) + (a > 3 or b > 3) * 2 for b in range(8)] for a in range(8)})
    m = cores(8, start=0, step=1024, l3=4, package=4)
    for n in range(4, 8):
        m[n]["cpus"] = [cpu + 508 for cpu in m[n]["cpus"]]
    yield "gaps", tree("CPUs 0-3, 512-515 and their siblings 1024 higher; nodes 3 and 250", m, {3: (of(m, range(4)), 64, 58), 250: (of(m, range(4, 8)), 64, 58)}, {3: [10, 32], 250: [32, 10]})
    m = cores(16, l3=8, package=8, l3_mib=0)
    yield "no-caches", tree("a kernel that tells no cache", m, {0: (of(m, range(8)), 64, 58), 1: (of(m, range(8, 16)), 64, 58)}, far(2))


if __name__ == "__main__":
    for name, text in machines():
        (pathlib.Path(__file__).parent / "trees" / f"{name}.capture").write_text(text)
