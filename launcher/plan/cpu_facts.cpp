#include "launcher/plan/cpu_facts.hpp"

#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <sstream>

#include "launcher/host/fd.hpp"
#include "launcher/spec/spec.hpp"
#include "topology/sysfs.hpp"

namespace launcher::inline plan {

namespace {

// What is said of the first CPU. Only the file's first bytes are read: on a large machine the whole costs milliseconds.
std::string first_cpu() {
  const Fd fd(open("/proc/cpuinfo", O_RDONLY | O_CLOEXEC));
  if (!fd) return {};
  std::string text(8192, '\0');
  const ssize_t got = read(fd.get(), text.data(), text.size());
  text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return text;
}

// Behind "NAME :", up to the line's end.
std::string value_in(const std::string& cpuinfo, const std::string& name) {
  const std::size_t line = cpuinfo.find("\n" + name);
  if (line == std::string::npos) return {};
  const std::size_t colon = cpuinfo.find(':', line);
  if (colon == std::string::npos) return {};
  return cpuinfo.substr(colon + 1, cpuinfo.find('\n', colon) - colon - 1);
}

std::set<std::string> flags_in(const std::string& cpuinfo) {
  std::istringstream words(value_in(cpuinfo, "flags"));
  std::set<std::string> flags;
  for (std::string word; words >> word;) flags.insert(word);
  return flags;
}

void ask_kvm(CpuFacts& facts) {
  const Fd fd(open("/dev/kvm", O_RDONLY | O_CLOEXEC));
  if (!fd) return;
  const auto has = [&fd](int capability) { return ioctl(fd.get(), KVM_CHECK_EXTENSION, capability); };
  facts.tsc_scaling = has(KVM_CAP_TSC_CONTROL) > 0;
  facts.kvm_max_vcpus = static_cast<unsigned>(std::max(0, has(KVM_CAP_MAX_VCPUS)));
  facts.disable_exits = static_cast<unsigned>(std::max(0, has(KVM_CAP_X86_DISABLE_EXITS)));
}

}  // namespace

CpuFacts look_at_cpu(const Spec& spec, const HostConfig& config, bool kvm, Cache cache) {
  CpuFacts facts;
  const std::string cpuinfo = first_cpu();
  const std::set<std::string> flags = flags_in(cpuinfo);
  facts.stable_tsc = flags.contains("constant_tsc") && flags.contains("nonstop_tsc");
  if (unsigned bits = 0; std::istringstream(value_in(cpuinfo, "address sizes")) >> bits && bits > 0 && bits < 64)
    facts.phys_bits = bits;
  for (const char* module : {"kvm_intel", "kvm_amd"}) {
    const auto nested = topology::Sysfs{}.read(std::string("/sys/module/") + module + "/parameters/nested");
    if (nested && (nested->starts_with("Y") || nested->starts_with("1"))) facts.nested = true;
  }
  facts.schedule = look_at_schedule(spec);
  if (!kvm) return facts;
  ask_kvm(facts);
  if (spec.accel == Accel::tcg || spec.cpu.add.size() + spec.cpu.require.size() == 0) return facts;
  const auto binary = find_qemu(config.qemu);
  if (!binary) return facts;  // a problem that is told elsewhere
  auto features = host_cpu_features(*binary, cache);
  if (features)
    facts.features = std::move(*features);
  else
    facts.features_why = features.error();
  return facts;
}

CpuFacts assumed_cpu_facts() {
  CpuFacts facts;
  facts.features_why = "another machine's";
  facts.stable_tsc = facts.tsc_scaling = facts.nested = true;
  facts.schedule.fifo_limit = 99;
  facts.schedule.rt_runtime_us = 950'000;  // the kernel's default
  facts.schedule.cgroup = {"/sys/fs/cgroup/vmrun", "", true, {"/sys/fs/cgroup/vmrun/cgroup.subtree_control"}};
  facts.schedule.l3.there = true;
  return facts;
}

}  // namespace launcher::plan
