// What the kernel lets us decide about scheduling: FIFO priorities, core scheduling, cgroups, cache partitions. Only what the
// spec asks about is looked at.
#include <linux/prctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "launcher/host/cgroup.hpp"
#include "launcher/plan/cpu_facts.hpp"
#include "launcher/spec/spec.hpp"
#include "topology/sysfs.hpp"
#include "topology/words.hpp"

namespace launcher::inline plan {

namespace {

namespace fs = std::filesystem;
using topology::has_word;

unsigned fifo_limit() {
  if (geteuid() == 0) return 99;
  rlimit limit{};
  if (getrlimit(RLIMIT_RTPRIO, &limit) < 0) return 0;
  return static_cast<unsigned>(std::min<rlim_t>(limit.rlim_cur, 99));
}

std::string why_no_core_scheduling() {
  unsigned long long cookie = 0;
  if (prctl(PR_SCHED_CORE, PR_SCHED_CORE_GET, 0, 0, &cookie) == 0) return "";
  if (errno == ENODEV) return "no core of this host has SMT siblings in use, so there is nothing to keep apart";
  return "this kernel has no core scheduling (Linux 5.14 with CONFIG_SCHED_CORE)";
}

// Our own cgroup, below the mount; "" if we are in none of version 2.
std::string own_cgroup() {
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("0::/")) return line.substr(3);
  return "";
}

// systemd marks what it has given away (Delegate=); an ordinary user may write to what is its own.
bool delegated(const std::string& directory) {
  char mark = 0;
  for (const char* name : {"trusted.delegate", "user.delegate"})
    if (getxattr(directory.c_str(), name, &mark, 1) == 1 && mark == '1') return true;
  return geteuid() != 0 && access(directory.c_str(), W_OK) == 0 &&
         access((directory + "/cgroup.procs").c_str(), W_OK) == 0;
}

CgroupFacts look_at_cgroups() {
  CgroupFacts facts;
  const topology::Sysfs sysfs;
  const std::string mount = cgroup_mount(), own = own_cgroup();
  const auto controllers = [&](const std::string& directory, const char* file) {
    return sysfs.read(directory + "/" + file).value_or("");
  };
  if (mount.empty() || own.empty()) {
    facts.why = "this host has no cgroups of version 2";
    return facts;
  }
  const std::string above = own == "/" ? "" : mount + (own.rfind('/') == 0 ? "" : own.substr(0, own.rfind('/')));
  if (!above.empty() && above != mount && delegated(above)) {
    facts.parent = above;
    if (!has_word(controllers(above, "cgroup.controllers"), "cpu"))
      facts.why = "the cpu controller was not delegated to " + above;
    else if (!has_word(controllers(above, "cgroup.subtree_control"), "cpu"))
      facts.enable.push_back(above + "/cgroup.subtree_control");
  } else if (geteuid() == 0) {
    facts.parent = mount + "/vmrun";
    facts.make_parent = true;
    if (!has_word(controllers(mount, "cgroup.controllers"), "cpu"))
      facts.why = "the cpu controller is not in " + mount + " (a cgroup hierarchy of version 1 may have it)";
    if (!has_word(controllers(mount, "cgroup.subtree_control"), "cpu"))
      facts.enable.push_back(mount + "/cgroup.subtree_control");
    facts.enable.push_back(facts.parent + "/cgroup.subtree_control");  // always: it may be made anew until then
  } else {
    facts.why =
        "no cgroup is delegated to this user (run vmrun in a unit with Delegate=yes and DelegateSubgroup=vmrun)";
  }
  if (!facts.why.empty()) facts.parent.clear();
  return facts;
}

CacheFacts look_at_caches() {
  CacheFacts facts;
  facts.known = true;
  const topology::Sysfs sysfs;
  const std::string info = "/sys/fs/resctrl/info/L3/";
  const auto mask = sysfs.read(info + "cbm_mask");
  const auto schemata = sysfs.read("/sys/fs/resctrl/schemata");
  if (!mask || !schemata) return facts;
  facts.there = true;
  facts.all = static_cast<std::uint32_t>(std::strtoul(mask->c_str(), nullptr, 16));
  facts.least = static_cast<unsigned>(sysfs.read_number(info + "min_cbm_bits").value_or(1));
  facts.gaps = sysfs.read_number(info + "sparse_masks") == 1u;
  std::istringstream lines(*schemata);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t start = line.find("L3:");
    if (start == std::string::npos) continue;
    std::istringstream parts(line.substr(start + 3));
    for (std::string part; std::getline(parts, part, ';');)
      facts.caches.push_back(static_cast<unsigned>(std::strtoul(part.c_str(), nullptr, 10)));
  }
  return facts;
}

}  // namespace

ScheduleFacts look_at_schedule(const Spec& spec) {
  ScheduleFacts facts;
  const ScheduleSpec& asked = spec.schedule;
  facts.fifo_limit = fifo_limit();
  if (asked.vcpu_fifo + asked.iothread_fifo > 0)
    if (const auto text = topology::Sysfs{}.read("/proc/sys/kernel/sched_rt_runtime_us"))
      facts.rt_runtime_us = std::strtol(text->c_str(), nullptr, 10);
  if (asked.core) facts.core_why = why_no_core_scheduling();
  if (asked.weight || asked.quota) facts.cgroup = look_at_cgroups();
  if (!asked.l3.empty()) facts.l3 = look_at_caches();
  return facts;
}

}  // namespace launcher::plan
