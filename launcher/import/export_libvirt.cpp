// The plan as a libvirt domain: CPUs, memory and what the board is. (The devices: export_devices.cpp.)
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <regex>
#include <set>

#include "launcher/devices/qemu_members.hpp"
#include "launcher/import/export.hpp"
#include "launcher/import/export_parts.hpp"

namespace launcher::inline import {

namespace {

std::string kib(topology::Bytes bytes) { return std::to_string(bytes.count >> 10); }

void memory(Domain& to) {
  export_max_memory(to, to.spec.memory.size.count);
  to.root.add("memory", kib({to.spec.memory.size.count + plugged_memory(to)}))
      .set("unit", "KiB")
      .set("dumpCore", to.spec.memory.dump ? "on" : "off");
  XmlElement& backing = to.root.add("memoryBacking");
  const topology::Placement& placement = to.plan.placement;
  if (placement.page >= topology::mib(2)) {
    backing.add("hugepages").add("page").set("size", kib(placement.page)).set("unit", "KiB");
    to.row("memory.page", Verb::changed,
           "libvirt takes pages that are in the pools already: reserve them before it starts");
  }
  if (!to.spec.memory.merge) backing.add("nosharepages");
  if (to.spec.memory.lock != MemorySpec::Lock::off) backing.add("locked");
  if (to.shares_memory()) {
    if (placement.page < topology::mib(2)) backing.add("source").set("type", "memfd");
    backing.add("access").set("mode", "shared");
  }
  if (to.spec.memory.prealloc.value_or(placement.page >= topology::mib(2)))
    backing.add("allocation").set("mode", "immediate");
  if (to.spec.memory.lock == MemorySpec::Lock::on_fault)
    to.row("memory.lock", Verb::changed, "all of it at the start, not once it is touched");
  if (to.spec.memory.transparent)
    to.row("memory.page", Verb::changed, "as the host's transparent huge pages are set then: nobody looks");
}

topology::CpuSet nodes_of(const topology::MemoryCell& cell) {
  topology::CpuSet nodes;
  for (const unsigned node : cell.host_nodes) nodes.add(node);
  return nodes;
}

// libvirt's word for QEMU's.
std::string mode_of(const std::string& policy) { return policy == "bind" ? "strict" : policy; }

void numa(Domain& to) {
  constexpr const char* modes[] = {"strict", "preferred", "interleave"};
  const topology::Placement& placement = to.plan.placement;
  const char* mode = modes[static_cast<int>(placement.policy)];
  topology::CpuSet all;
  for (const topology::MemoryCell& cell : placement.cells) all |= nodes_of(cell);
  if (all.empty()) return;
  XmlElement& tune = to.root.add("numatune");
  tune.add("memory").set("mode", mode).set("nodeset", all.to_string());
  if (placement.cells.size() < 2) return;
  for (const topology::MemoryCell& cell : placement.cells)
    if (cell.size.count != 0)
      tune.add("memnode")
          .set("cellid", std::to_string(cell.guest_node))
          .set("mode", mode_of(memory_policy(placement, to.plan.args, cell.guest_node)))
          .set("nodeset", nodes_of(cell).to_string());
}

// What a disk says of its thread pool is the thread's own in libvirt.
void iothreads(Domain& to) {
  const LaunchPlan& plan = to.plan;
  if (plan.iothreads.empty()) return;
  to.root.add("iothreads", std::to_string(plan.iothreads.size()));
  XmlElement& ids = to.root.add("iothreadids");
  for (std::size_t i = 0; i < plan.iothreads.size(); ++i) {
    XmlElement& one = ids.add("iothread").set("id", std::to_string(i + 1));
    for (const Arg& arg : plan.args) {
      if (arg.option != "-object") continue;
      const Members members = members_of(arg.value);
      if (member(members, "id") != plan.iothreads[i].id) continue;
      for (const auto& [property, key] :
           {std::pair("thread-pool-min", "thread_pool_min"), std::pair("thread-pool-max", "thread_pool_max")})
        if (const std::string value = member(members, property); !value.empty()) one.set(key, value);
    }
  }
}

void cpus(Domain& to) {
  const LaunchPlan& plan = to.plan;
  to.root.add("vcpu", std::to_string(to.spec.cpu.count)).set("placement", "static");
  iothreads(to);
  XmlElement& tune = to.root.add("cputune");
  if (to.spec.schedule.weight) tune.add("shares", std::to_string(*to.spec.schedule.weight));
  if (to.spec.schedule.quota) {
    tune.add("global_period", "100000");
    tune.add("global_quota", std::to_string(*to.spec.schedule.quota * 1000ULL));
  }
  for (const topology::VcpuSeat& seat : plan.placement.vcpus)
    if (seat.cpu) tune.add("vcpupin").set("vcpu", std::to_string(seat.vcpu)).set("cpuset", std::to_string(*seat.cpu));
  if (!plan.placement.emulator.empty()) tune.add("emulatorpin").set("cpuset", plan.placement.emulator.to_string());
  for (std::size_t i = 0; i < plan.iothreads.size() && i < plan.placement.iothreads.size(); ++i)
    if (!plan.placement.iothreads[i].empty())
      tune.add("iothreadpin")
          .set("iothread", std::to_string(i + 1))
          .set("cpuset", plan.placement.iothreads[i].to_string());
  const std::string every = fmt::format("0-{}", to.spec.cpu.count - 1);
  if (plan.vcpu_fifo > 0)
    tune.add("vcpusched").set("vcpus", every).set("scheduler", "fifo").set("priority", std::to_string(plan.vcpu_fifo));
  if (plan.iothread_fifo > 0 && !plan.iothreads.empty())
    tune.add("iothreadsched")
        .set("iothreads", fmt::format("1-{}", plan.iothreads.size()))
        .set("scheduler", "fifo")
        .set("priority", std::to_string(plan.iothread_fifo));
  if (plan.vhost_workers > 0)
    to.row("vhost workers", Verb::dropped,
           "libvirt pins none of vhost's threads: they run on emulatorpin's CPUs where the kernel makes them QEMU's");
  if (!to.spec.schedule.l3.empty())
    to.row("schedule.l3", Verb::dropped, "libvirt's cachetune takes sizes, not masks of ways");
  if (to.spec.host.asks()) to.row("host", Verb::dropped, "libvirt leaves the host's other settings as they are");
}

// What the guest's node starts with: memory.max adds to it later.
topology::Bytes start_of(const Domain& to, const topology::MemoryCell& cell) {
  for (const Arg& arg : to.plan.args) {
    if (arg.option != "-object") continue;
    const Members members = members_of(arg.value);
    std::uint64_t bytes = 0;
    const std::string size = member(members, "size");
    if (member(members, "id") == fmt::format("ram{}", cell.guest_node) &&
        std::from_chars(size.data(), size.data() + size.size(), bytes).ec == std::errc{})
      return {bytes};
  }
  return {};
}

void cells(const Domain& to, XmlElement& element) {
  // libvirt 9 plugs memory into nodes only
  if (to.plan.placement.cells.size() < 2 && to.spec.numa.empty() && plugged_memory(to) == 0) return;
  XmlElement& numa_cells = element.add("numa");
  for (const topology::MemoryCell& cell : to.plan.placement.cells) {
    topology::CpuSet vcpus;
    for (const unsigned vcpu : cell.vcpus) vcpus.add(vcpu);
    XmlElement& one = numa_cells.add("cell").set("id", std::to_string(cell.guest_node));
    if (!vcpus.empty()) one.set("cpus", vcpus.to_string());
    one.set("memory", kib(start_of(to, cell))).set("unit", "KiB");
    if (cell.guest_node >= to.plan.placement.distances.size()) continue;
    XmlElement& distances = one.add("distances");
    const auto& row = to.plan.placement.distances[cell.guest_node];
    for (std::size_t i = 0; i < row.size(); ++i)
      distances.add("sibling").set("id", std::to_string(i)).set("value", std::to_string(row[i]));
  }
}

void cpu_model(Domain& to) {
  const CpuSpec& cpu = to.spec.cpu;
  const std::string model = to.cpu_model();
  XmlElement& element = to.root.add("cpu");
  if (model == "host") {
    element.set("mode", "host-passthrough").set("check", "none").set("migratable", "off");
  } else if (model == "max") {
    element.set("mode", "maximum").set("check", "none");
  } else {
    element.set("mode", "custom").set("match", "exact").set("check", "none");
    element.add("model", model).set("fallback", "forbid");
  }
  const topology::GuestTopology& shape = to.plan.placement.guest;
  element.add("topology")
      .set("sockets", std::to_string(shape.sockets))
      .set("dies", std::to_string(shape.dies))
      .set("cores", std::to_string(shape.cores))
      .set("threads", std::to_string(shape.threads));
  if (cpu.host_caches == true) element.add("cache").set("mode", "passthrough");
  if (cpu.host_caches == false) element.add("cache").set("mode", "emulate").set("level", "3");
  std::set<std::string> named;
  const auto feature = [&](const std::string& name, const char* policy) {
    if (name.starts_with("kvm"))
      return to.row("cpu." + std::string(policy == std::string_view("force")     ? "add"
                                         : policy == std::string_view("disable") ? "remove"
                                                                                 : "require"),
                    Verb::dropped, name + ": a service of KVM that libvirt has no feature of that name for");
    if (named.insert(name).second) element.add("feature").set("policy", policy).set("name", name);
  };
  for (const std::string& name : cpu.require) feature(name, "require");
  for (const std::string& name : cpu.add) feature(name, "force");
  for (const std::string& name : cpu.remove) feature(name, "disable");
  for (const char* name : {"vmx", "svm"})
    for (const bool on : {true, false})
      if (cpu.nested == on && to.cpu_has(fmt::format("{}={}", name, on ? "on" : "off")))
        feature(name, on ? "require" : "disable");
  if (to.cpu_has("invtsc=on")) feature("invtsc", "require");
  if (to.spec.clock.invtsc == false) feature("invtsc", "disable");
  cells(to, element);
}

}  // namespace

std::string Domain::arg(std::string_view option) const {
  const auto found = std::ranges::find(plan.args, option, &Arg::option);
  return found == plan.args.end() ? std::string() : found->value;
}

std::string Domain::cpu_model() const {
  const std::string cpu = arg("-cpu");
  return cpu.substr(0, cpu.find(','));
}

bool Domain::cpu_has(std::string_view setting) const {
  return (arg("-cpu") + ",").find(fmt::format(",{},", setting)) != std::string::npos;
}

bool Domain::shares_memory() const {
  return spec.memory.shared || std::ranges::any_of(plan.args, [](const Arg& arg) {
           if (arg.option != "-object") return false;
           const Members members = members_of(arg.value);  // the guest's own memory, not that of an NVDIMM
           return member(members, "id").starts_with("ram") && member(members, "share") == "on";
         });
}

Exported export_libvirt(const Spec& spec, const LaunchPlan& plan) {
  Domain to{spec, plan};
  to.root.name = "domain";
  to.root.set("type", plan.accel == "kvm" ? "kvm" : "qemu");
  to.root.add("name", plan.name);
  to.root.add("uuid", plan.uuid);
  memory(to);
  cpus(to);
  numa(to);
  export_board(to);
  cpu_model(to);
  export_time_and_power(to);
  XmlElement& devices = to.root.add("devices");
  to.devices(devices);
  export_hot_memory(to, devices);
  export_policies(to);
  if (!spec.extra_args.empty()) {
    to.root.set("xmlns:qemu", "http://libvirt.org/schemas/domain/qemu/1.0");
    XmlElement& line = to.root.add("qemu:commandline");
    for (const std::string& one : spec.extra_args) line.add("qemu:arg").set("value", one);
  }
  return {write_xml(to.root), std::move(to.report)};
}

}  // namespace launcher::import
