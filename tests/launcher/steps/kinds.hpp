// A value of every kind of step and of undo, with what is hard to write down in it; of every change of a kernel file one, and of CPUs two.
#pragma once

#include <vector>

#include "launcher/steps/step.hpp"

namespace kinds {

using namespace launcher;
using topology::CpuSet;
using topology::gib;
using topology::mib;

inline ChildSpec some_child() {
  ChildSpec child;
  child.argv = {"/usr/bin/qemu-system-x86_64", "-name", "guest=a,,b", "line\nbreak", "\"quote\" 'n \\"};
  child.uid = 1'912'345'678;
  child.affinity = CpuSet{0, 1, 72};
  child.policy = topology::MemoryPolicy::preferred;
  child.memory_nodes = {0, 1};
  child.cgroup = "/sys/fs/cgroup/vmrun/vm-db";
  child.cache_group = "/sys/fs/resctrl/vmrun-db";
  child.own_core_cookie = true;
  child.memlock = 18'446'744'073'709'551'615ull;
  child.private_dev = "/run/vmrun/db/dev";
  child.private_nodes = {"/dev/kvm", "/dev/vfio/vfio"};
  child.dies_with_parent = false;
  return child;
}

inline const std::vector<Step>& one_of_each() {
  static const std::vector<Step> steps = {
      RaisePool{1, mib(2), 256},
      MakeTap{"vdb12.0", "br0", 9000, {10, 11}},
      OpenTap{"tap0", true, {10}},
      MakeMacvtap{"vdb12.1", "eth0", "vepa", "52:54:00:01:02:03", 9000, {20, 21}},
      LimitRate{"vdb12.0", 1'000'000'000, 64'000},
      TagPort{"vdb12.0", "br0", 100},
      OpenVhost{{12, 13}},
      OpenFile{"/images/a, b\n\"c\".qcow2", true, false, 14, true},
      MakeImage{"/images, \"a\"", "b\n.raw", "raw", topology::gib(20), "falloc", "/usr/bin/qemu-img", "/log", 19, true},
      OpenLog{"/var/log/a, b\n.log", 19, mib(16)},
      Listen{"/run/vmrun/db/qmp.sock", 15, true},
      HoldPath{"/run/a, b\n\"c\".sock", 22},
      MakeDirectory{"/run/vmrun/db/net0", 23},
      Pair{17, 18},
      KeepDirectory{"/var/lib/vmrun/db", true},
      CopyOnce{"/usr/share/OVMF/OVMF_VARS.fd", "/var/lib/vmrun/db/vars.fd"},
      KeepText{"/var/lib/vmrun/db/made-by.json", "{\"x\": \"\\n\"}\n"},
      GiveFile{"/images/pmem, \"0\"", 1'912'345'678, 1'912'345'678, 0, 6},
      StartHelper{"virtiofsd share0", some_child(), {{3, 15}}, "/run/vmrun/db/share0.log"},
      StartQemu{some_child(), 16, "/run/vmrun/db/qemu.log"},
      MakeGroup{"/sys/fs/cgroup/vmrun", true},
      LoadModule{"vfio-pci"},
      CreateVfs{"0000:81:00.0", 8, 3, "0000:81:01.3"},
      SetVfMac{"enp129s0", 3, "52:54:00:00:00:01", "00:00:00:00:00:00"},
      SetVfPort{"enp129s0", 3, {100, false, true}, {0, {}, false}},
      BindVfio{"0000:81:01.3", "iavf", "old-override"},
      OpenVfio{"0000:81:01.3", 20},
      TakeUsb{"1-2.3", "/dev/bus/usb/001/004", 21},
      ChangeFile{"/sys/fs/resctrl/vmrun-db/schemata", Word{"L3:0=f0\n", "0=0f0"}},
      ChangeFile{"/sys/kernel/mm/ksm/run", Value{"1", "2"}},
      ChangeFile{"/sys/block/sda/queue/nr_requests", Beside{"512", "/sys/block/sda/queue/scheduler", "mq-deadline"}},
      ChangeFile{"/proc/irq/24/smp_affinity_list", Cpus{CpuSet{2, 3}, CpuSet{0}, 3}},
      ChangeFile{"/sys/fs/cgroup/vmrun-db/vcpus/cpuset.cpus.partition", Partition{}},
      ChangeFile{"/sys/fs/cgroup/system.slice/cpuset.cpus", Cpus{CpuSet{2, 3}, {}}},
      MakeMemoryFile{"credential tmpfiles.extra", {{"f+~ /a\n", "", ""}, {"", "/var/lib/vmrun/db/key", "base64"}}, 24},
      MakeVolume{"CIDATA", {{"meta-data", {{"{\"a\": 1}", "", ""}}}, {"user-data", {{"", "/u", "json"}}}}, 25},
      KeepSshKeys{"/var/lib/vmrun/db/ssh", "db", "ann", "/usr/bin/ssh-keygen"},
      MakeGuestMemory{"ram1", gib(2), mib(2), 1, topology::MemoryPolicy::preferred, CpuSet{2, 3}, 2, 26},
  };
  return steps;
}

inline const std::vector<Undo>& one_undo_of_each() {
  static const std::vector<Undo> undos = {
      TrimPool{1, gib(1), 3, 8},
      DropTap{"vdb12.0"},
      DropMacvtap{"vdb12.1", "52:54:00:01:02:03"},
      TakeFileBack{"/images/pmem, \"0\"", 0, 6, 2049, 18'446'744'073'709'551'615ull},
      EndProcess{{4321, 987654321}},
      RemoveGroup{"/sys/fs/cgroup/vmrun/vm-db", false},
      RemoveVfs{"0000:81:00.0", 8},
      GiveVfMacBack{"enp129s0", 3, "00:00:00:00:00:00"},
      GiveVfPortBack{"enp129s0", 3, {0, {}, false}},
      GiveBack{"0000:81:01.3", {}, ""},
      GiveBackUsb{"1-2.3"},
      ChangeBack{"/proc/sys/net/ipv4/tcp_rmem", Value{"4096 1048576 16777216", "4096 131072 6291456"}},
      ChangeBack{"/sys/block/sda/queue/nr_requests", Beside{"512", "/sys/block/sda/queue/scheduler", "mq-deadline"}},
      ChangeBack{"/proc/irq/24/smp_affinity_list", Cpus{CpuSet{0}, CpuSet{2, 3}, 3}},
      ChangeBack{"/sys/fs/cgroup/vmrun-db/vcpus/cpuset.cpus.partition", Partition{"member"}},
      ChangeBack{"/sys/fs/cgroup/system.slice/cpuset.cpus", Cpus{{}, CpuSet{2, 3}}},
  };
  return undos;
}

}  // namespace kinds
