#!/usr/bin/env python3
"""Writes the machines of this directory that nobody could capture: NAME.json, in the form of `vmrun host --json`.

Each is a line of facts from a published source (a tuning guide, a vendor's page); run it again after changing one.
this-machine.xml is real: `lstopo --of xml` on the 2-CPU cloud VM that this was written on.
"""
import json
import pathlib

MIB, GIB = 1 << 20, 1 << 30


def core(number, cpus, l3, package, node, kind=0):
    return {"core": number, "cpus": cpus, "l3": l3, "package": package, "node": node, "kind": kind}


def node(number, total, free, distances, huge_2m=0, huge_1g=0):
    return {"id": number, "memory_total": total, "memory_free": free, "distances": distances,
            "pools": [{"page": 2 * MIB, "total": huge_2m, "free": huge_2m},
                      {"page": GIB, "total": huge_1g, "free": huge_1g}]}


def device(address, name, class_id, on, *names):
    return {"address": address, "name": name, "class": class_id, "node": on, "os_devices": list(names)}


def smt(count, per_l3, per_package, per_node):
    """count cores, the siblings of N at N + count: how most firmware numbers them."""
    return [core(n, f"{n},{n + count}", n // per_l3, n // per_package, n // per_node) for n in range(count)]


def host(vendor, model, cores, nodes, devices=(), isolated=""):
    return {"version": 1, "cpu": {"vendor": vendor, "model": model}, "base_page": 4096, "isolated": isolated,
            "cores": cores, "nodes": nodes, "devices": list(devices)}


def epyc_distances(here):
    return [10 if here == there else 12 if here // 4 == there // 4 else 32 for there in range(8)]


HOSTS = {
    # guide 001, 3.2.1: numactl -H of a 2-socket Xeon; 8 pages of 1G on node 0 as in its 3.2.3
    "xeon-2s-144": host(
        "GenuineIntel", "Intel(R) Xeon(R) Platinum 8360Y CPU @ 2.40GHz", smt(72, 36, 36, 36),
        [node(0, 128530 * MIB, 70019 * MIB, [10, 20], huge_1g=8), node(1, 129002 * MIB, 5288 * MIB, [20, 10])],
        [device("0000:31:00.0", "Ethernet controller: Intel Ethernet Controller E810-C for QSFP", "0200", 0, "ens1f0"),
         device("0000:b1:00.0", "Non-Volatile memory controller: Intel NVMe Datacenter SSD", "0108", 1, "nvme0n1"),
         # guide 001, 5: a QuickAssist card
         device("0000:b3:00.0", "Co-processor: Intel Corporation C62x Chipset QuickAssist Technology", "0b40", 1)]),
    # 2 sockets in NPS4: 4 nodes a socket, 2 L3 (CCX) a node, 4 cores an L3
    "epyc-8n-16l3": host(
        "AuthenticAMD", "AMD EPYC 7543 32-Core Processor", smt(64, 4, 32, 8),
        [node(n, 64 * GIB, 62 * GIB, epyc_distances(n)) for n in range(8)],
        [device("0000:a1:00.0", "Ethernet controller: Mellanox MT28800 Family", "0200", 5, "ens5f0np0"),
         device("0000:61:00.0", "Non-Volatile memory controller: Samsung PM1733", "0108", 2, "nvme0n1")]),
    # 8 P-cores with SMT, 8 E-cores in two clusters of an L2 each, one L3 for all
    "hybrid-8p8e": host(
        "GenuineIntel", "12th Gen Intel(R) Core(TM) i9-12900K",
        [core(n, f"{2 * n}-{2 * n + 1}", 0, 0, 0, 1) for n in range(8)] + [core(8 + n, str(16 + n), 0, 0, 0, 0) for n in range(8)],
        [node(0, 64 * GIB, 56 * GIB, [10])],
        [device("0000:01:00.0", "VGA compatible controller: NVIDIA AD104", "0300", -1, "card0")]),
    # guide 000: lscpu -e of a laptop
    "laptop-4c": host("GenuineIntel", "Intel(R) Core(TM) i7-10510U CPU @ 1.80GHz", smt(4, 4, 4, 4), [node(0, 16 * GIB, 12 * GIB, [10])]),
    # guide 002: numactl --hardware of a dual-socket server without SMT
    "rocky-2s": host(
        "GenuineIntel", "Intel(R) Xeon(R) Gold 6226R CPU @ 2.90GHz", [core(n, str(n), n // 16, n // 16, n // 16) for n in range(32)],
        [node(0, 65536 * MIB, 42000 * MIB, [10, 21]), node(1, 65536 * MIB, 45000 * MIB, [21, 10])]),
    # an AWS c5n.metal: 2 x 18 cores
    "c5n-metal": host(
        "GenuineIntel", "Intel(R) Xeon(R) Platinum 8124M CPU @ 3.00GHz", smt(36, 18, 18, 18),
        [node(n, 96 * GIB, 94 * GIB, [10, 21] if n == 0 else [21, 10]) for n in range(2)],
        [device("0000:05:00.0", "Ethernet controller: Amazon Elastic Network Adapter", "0200", 0, "ens5")]),
    "cloud-2c": host("AuthenticAMD", "AMD EPYC", [core(n, str(n), 0, 0, 0) for n in range(2)], [node(0, 24 * GIB, 20 * GIB, [10])],
                     [device("0000:00:03.0", "", "0200", -1, "eth0")]),
    "single-core": host("GenuineIntel", "", [core(0, "0", 0, 0, 0)], [node(0, 2 * GIB, 1536 * MIB, [10])]),
    "x3d": {**host("AuthenticAMD", "AMD Ryzen 9 7950X3D 16-Core Processor", smt(16, 8, 16, 16), [node(0, 64 * GIB, 56 * GIB, [10])], []),
            "caches": [{"l3": 0, "size": 96 * MIB}, {"l3": 1, "size": 32 * MIB}]},
    # as read_synthetic("pack:8 [numa] l3:16 core:16 pu:2")
    "synthetic-8n-4096": host("", "", [core(n, f"{2 * n}-{2 * n + 1}", n // 16, n // 256, n // 256) for n in range(2048)],
                              [node(n, 64 * GIB, 64 * GIB, []) for n in range(8)]),
}


def rows(entries):
    return "[" + ",".join("\n    " + json.dumps(entry) for entry in entries) + "]"


def text(name, machine):
    parts = [f'"{key}": {rows(value) if key in ("cores", "nodes", "devices") else json.dumps(value)}' for key, value in machine.items()]
    return '{"host": {' + ",\n  ".join(parts) + "}}\n"


if __name__ == "__main__":
    for name, machine in HOSTS.items():
        (pathlib.Path(__file__).parent / f"{name}.json").write_text(text(name, machine))
