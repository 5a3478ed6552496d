#include "launcher/commands/host_map.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <tuple>

#include "launcher/text/printable.hpp"

namespace launcher::commands {

namespace {

using topology::CpuSet;
using topology::HostTopology;
using topology::Node;

// Who has a CPU: a character and what it stands for.
class Owners {
 public:
  Owners(const HostTopology& host, const topology::HostPolicy& policy, const topology::Reservations& taken)
      : taken_(taken),
        housekeeping_(policy.housekeeping.value_or(topology::default_housekeeping(host))),
        isolated_(host.isolated) {}

  char sign(unsigned cpu) const {
    for (std::size_t i = 0; i < taken_.vms.size(); ++i)
      if (taken_.vms[i].cpus.contains(cpu)) return sign_of_vm(i);
    if (housekeeping_.contains(cpu)) return 'h';
    return isolated_.contains(cpu) ? '-' : '.';
  }

  std::string legend() const {
    std::string text = "  . free   h housekeeping";
    if (!isolated_.empty()) text += "   - isolated and free";
    text += "\n";
    for (std::size_t i = 0; i < taken_.vms.size(); ++i) {
      const topology::Reservation& vm = taken_.vms[i];
      std::string pages;
      for (const topology::PageClaim& claim : vm.pages)
        pages += fmt::format(", {} pages of {} on node {}", claim.pages, to_string(claim.page), claim.node);
      text += fmt::format("  {} VM {}: {}{}\n", vm.cpus.empty() ? ' ' : sign_of_vm(i), printable(vm.owner),
                          vm.cpus.empty() ? "no CPUs of its own" : "CPUs " + vm.cpus.to_string(), pages);
    }
    return text;
  }

 private:
  // Capitals, then digits; more VMs than that share the last sign.
  static char sign_of_vm(std::size_t i) {
    constexpr std::string_view signs = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789#";
    return signs[std::min(i, signs.size() - 1)];
  }

  const topology::Reservations& taken_;
  CpuSet housekeeping_, isolated_;
};

// "Aa" for a core of two threads; in short form one sign, '*' where its threads differ.
std::string core_word(const CpuSet& cpus, const Owners& owners, bool brief) {
  std::string word;
  for (const unsigned cpu : cpus.to_vector()) word += owners.sign(cpu);
  if (!brief) return word;
  const bool alike = word.find_first_not_of(word.front()) == word.npos;
  return std::string(1, alike ? word.front() : '*');
}

struct CoreOf {
  CpuSet cpus;
  unsigned l3 = 0, kind = 0;
};

std::vector<CoreOf> cores_of_node(const HostTopology& host, unsigned node) {
  std::vector<std::pair<unsigned, CoreOf>> cores;
  for (const topology::Pu& pu : host.pus) {
    if (pu.node != node) continue;
    auto found = std::find_if(cores.begin(), cores.end(), [&](const auto& core) { return core.first == pu.core; });
    if (found == cores.end()) found = cores.insert(cores.end(), {pu.core, CoreOf{{}, pu.l3, pu.kind}});
    found->second.cpus.add(pu.cpu);
  }
  std::vector<CoreOf> all;
  all.reserve(cores.size());
  for (auto& core : cores) all.push_back(std::move(core.second));
  std::sort(all.begin(), all.end(), [](const CoreOf& a, const CoreOf& b) {
    return std::tuple(b.kind, a.l3, a.cpus.first()) < std::tuple(a.kind, b.l3, b.cpus.first());
  });
  return all;
}

// The node's cores, " | " between L3s, a new line for another kind of core and where the line is full.
std::string rows_of_node(const HostTopology& host, unsigned node, const Owners& owners, unsigned columns, bool brief) {
  const std::string indent = "    ";
  std::string text, line;
  const CoreOf* last = nullptr;
  const auto cores = cores_of_node(host, node);
  const auto flush = [&] {
    if (!line.empty()) text += indent + line + "\n";
    line.clear();
  };
  for (const CoreOf& core : cores) {
    const std::string word = core_word(core.cpus, owners, brief);
    if (last != nullptr && last->kind != core.kind) flush();
    if (host.kinds() > 1 && line.empty()) line = host.kind_name(core.kind) + " ";
    std::string between = line.empty() || line.ends_with(' ') ? "" : brief ? "" : " ";
    if (last != nullptr && last->l3 != core.l3 && last->kind == core.kind && !line.empty()) between = " | ";
    if (indent.size() + line.size() + between.size() + word.size() > columns) {
      flush();
      between.clear();
    }
    line += between + word;
    last = &core;
  }
  flush();
  return text;
}

// "    L3s: 0 of 96 MiB, 1 of 32 MiB", in the order of the rows; "" where the node has one.
std::string caches_of_node(const HostTopology& host, unsigned node) {
  std::vector<unsigned> caches;
  for (const CoreOf& core : cores_of_node(host, node))
    if (std::ranges::find(caches, core.l3) == caches.end()) caches.push_back(core.l3);
  if (caches.size() < 2 || host.caches.empty()) return "";
  std::string text;
  for (const unsigned l3 : caches) {
    const auto known = std::ranges::find(host.caches, l3, &topology::Cache::l3);
    text += fmt::format("{}{}", text.empty() ? "" : ", ", l3);
    if (known != host.caches.end()) text += fmt::format(" of {} MiB", known->size.count >> 20);
  }
  return fmt::format("    L3s: {}\n", text);
}

std::string node_heading(const HostTopology& host, const Node& node) {
  std::string pools;
  for (const topology::HugePagePool& pool : node.pools)
    if (pool.total > 0) pools += fmt::format("   {}: {} free of {}", to_string(pool.page), pool.free, pool.total);
  std::string text =
      fmt::format("node {}  CPUs {}   {} MiB free of {}{}\n", node.id, host.cpus_of_node(node.id).to_string(),
                  node.memory_free.count >> 20, node.memory_total.count >> 20, pools);
  std::string devices;
  for (const topology::PciDevice& device : host.devices) {
    const bool here = device.node == static_cast<int>(node.id) || (host.nodes.size() == 1 && device.node < 0);
    if (!here) continue;
    for (const std::string& name : device.os_devices) devices += (devices.empty() ? "" : ", ") + printable(name);
  }
  if (!devices.empty()) text += fmt::format("    devices: {}\n", devices);
  return text;
}

}  // namespace

unsigned terminal_columns() {
  winsize size{};
  return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 40 ? size.ws_col : 80;
}

std::string host_map(const HostTopology& host, const topology::HostPolicy& policy, const topology::Reservations& taken,
                     unsigned columns) {
  const Owners owners(host, policy, taken);
  CpuSet cores;
  for (const topology::Pu& pu : host.pus) cores.add(pu.core);
  const bool brief = host.pus.size() + cores.size() > std::size_t{columns} * 20;  // else more than a screenful
  std::string text =
      fmt::format("{}\n{} CPUs in {} cores, {} node{}, {} thread{} per core{}\n",
                  host.cpu_model.empty() ? "CPU of unknown model" : printable(host.cpu_model), host.pus.size(),
                  cores.size(), host.nodes.size(), host.nodes.size() == 1 ? "" : "s", host.threads_per_core(),
                  host.threads_per_core() == 1 ? "" : "s", brief ? "; each sign is a core" : "");
  for (const std::string& bound : host.allowed.by) text += fmt::format("vmrun was allowed only {}\n", printable(bound));
  for (const Node& node : host.nodes)
    text +=
        node_heading(host, node) + caches_of_node(host, node.id) + rows_of_node(host, node.id, owners, columns, brief);
  return text + owners.legend();
}

}  // namespace launcher::commands
