// A machine that is nothing but files below a directory, and a plan for it: what the tests of locks look at.
#pragma once

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <string>

#include "launcher/record/lock.hpp"
#include "tests/fakes/temp_dir.hpp"
#include "topology/host_topology.hpp"

namespace record_tests {

struct Machine {
  fakes::TempDir dir;
  fakes::Environment cache{"VMRUN_CACHE_DIR", (dir / "cache").string()};
  topology::HostTopology topology;
  std::string spec = "name = \"a\"\n\n[cpu]\ncount = 2\n";
  boost::json::object plan;

  Machine() {
    file("/proc/cmdline", "ro root=UUID=1234-5678 isolcpus=2-3 mitigations=off secret_token=hunter2");
    file("/proc/cpuinfo", "processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu vme avx2\n\nprocessor\t: 1\n");
    file("/proc/sys/kernel/osrelease", "6.1.0-56-amd64");
    file("/proc/sys/kernel/version", "#1 SMP");
    file("/proc/sys/kernel/numa_balancing", "1");
    file("/proc/sys/vm/swappiness", "60");
    file("/sys/devices/system/cpu/isolated", "2");
    file("/sys/devices/system/cpu/smt/control", "on");
    file("/sys/devices/system/cpu/vulnerabilities/spectre_v2", "Vulnerable");
    for (unsigned cpu = 0; cpu < 4; ++cpu) {
      per_cpu(cpu, "cpufreq/scaling_governor", "performance");
      per_cpu(cpu, "microcode/version", "0xd6");
      topology.pus.push_back({.cpu = cpu, .core = cpu, .l3 = 0, .package = 0, .node = 0, .kind = 0});
    }
    file("/sys/devices/system/cpu/cpufreq/boost", "1");
    file("/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never");
    file("/sys/kernel/mm/ksm/run", "0");
    file("/sys/class/dmi/id/bios_version", "1.2.3");
    file("/sys/class/dmi/id/product_serial", "SERIAL-9");
    file("/sys/module/kvm/parameters/halt_poll_ns", "200000");
    file("/sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc");
    file("/etc/tuned/active_profile", "virtual-host");
    topology.nodes.push_back(
        {.id = 0, .memory_total = topology::gib(8), .memory_free = {}, .pools = {}, .distances = {10}});
    fakes::write_file(dir / "disk.raw", std::string(100'000, 'x'));
    fakes::write_file(dir / "vmlinuz", "a kernel");
    fakes::write_file(dir / "qemu", "a program");
    make_plan();
  }

  void file(const std::string& path, const std::string& text) const {
    fakes::write_file((dir / "root").string() + path, text + "\n");
  }
  void per_cpu(unsigned cpu, const std::string& path, const std::string& text) const {
    file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/" + path, text);
  }

  void make_plan() {
    const std::string here = dir.path().string();
    plan = boost::json::parse(R"({"name": "a", "accel": "kvm", "qemu": ")" + here + R"(/qemu", "qemu_version": "7.2.22",
      "placement": {"vcpus": [{"vcpu": 0, "cpu": 2, "guest_node": 0}, {"vcpu": 1, "cpu": 3, "guest_node": 0}],
                    "emulator": "0", "notes": ["words"]},
      "argv": [")" + here + R"(/qemu", "-name", "guest=a", "-cpu", "host,pmu=off", "-device",
               "virtio-blk-pci,id=disk0,num-queues=2", "-S"],
      "steps": [{"step": {"raise_pool": {"node": 0, "page": "2M", "pages": 128}}, "origin": "spec memory.size"},
                {"step": {"open_file": {"path": ")" +
                              here + R"(/disk.raw", "writable": true, "fd": 12}},
                 "origin": "spec disk[0].path"},
                {"step": {"open_file": {"path": ")" +
                              here + R"(/vmlinuz", "writable": false, "fd": 13}},
                 "origin": "spec boot.kernel"}]})")
               .as_object();
  }

  launcher::LaunchLock lock(launcher::Naming naming = launcher::Naming::hidden) const {
    const topology::Sysfs root(dir / "root");
    return launcher::make_lock(spec, plan, {root, topology, naming}, {});
  }
};

}  // namespace record_tests
