// How this machine can keep CPUs for one VM: cgroup version 2 with its cpuset controller. What kernels do was measured in
// the lab (tests/lab/isolate.sh).
#include <sys/utsname.h>
#include <unistd.h>

#include <cstdlib>
#include <sstream>

#include "launcher/host/cgroup.hpp"
#include "launcher/plan/tuning_facts.hpp"
#include "topology/sysfs.hpp"
#include "topology/words.hpp"

namespace launcher::inline plan {

using topology::has_word;

namespace {

// Isolated partitions came with Linux 6.1.
bool old_kernel() {
  utsname name{};
  uname(&name);
  unsigned long major = 0, minor = 0;
  char dot = 0;
  std::istringstream(name.release) >> major >> dot >> minor;
  return major < 6 || (major == 6 && minor < 1);
}

}  // namespace

IsolationFacts look_at_isolation() {
  IsolationFacts facts;
  const topology::Sysfs sysfs;
  facts.root = cgroup_mount();
  if (facts.root.empty()) {
    facts.why = "this host has no cgroups of version 2";
    return facts;
  }
  const std::string controllers = sysfs.read(facts.root + "/cgroup.controllers").value_or("");
  const std::string below = sysfs.read(facts.root + "/cgroup.subtree_control").value_or("");
  facts.why.clear();
  if (geteuid() != 0)
    facts.why = "that needs root";
  else if (sysfs.exists(facts.root + "/cgroup.type"))  // the root of all has none
    facts.why = "vmrun is in a cgroup namespace, and sees nobody else's cgroups";
  else if (!has_word(controllers, "cpuset"))
    facts.why = "the cpuset controller is not in " + facts.root +
                " (a cgroup hierarchy of version 1 has it, or cgroup_disable=cpuset)";
  if (!facts.why.empty()) return facts;
  facts.has_cpuset = has_word(below, "cpuset");
  facts.has_cpu = has_word(below, "cpu");
  if (!has_word(controllers, "cpu")) facts.no_cpu = "the cpu controller is not in " + facts.root;
  facts.nested = sysfs.exists(facts.root + "/cpuset.cpus.isolated");
  if (!facts.nested && old_kernel()) facts.no_partition = "isolated partitions came with Linux 6.1";
  const auto cpus = [&](const std::string& file) {
    return topology::CpuSet::parse(sysfs.read(file).value_or("")).value_or(topology::CpuSet{});
  };
  if (const topology::CpuSet left = cpus(facts.root + "/cpuset.cpus.effective"); !left.empty())
    facts.partitioned = cpus("/sys/devices/system/cpu/online") - left;
  for (const std::string& name : sysfs.list(facts.root)) {
    const std::string path = facts.root + "/" + name;
    if (sysfs.is_directory(path) && !name.starts_with("vmrun"))
      facts.groups.push_back({path, sysfs.read(path + "/cpuset.cpus").value_or("")});
  }
  return facts;
}

}  // namespace launcher::plan
