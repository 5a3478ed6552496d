// What devices rule out of each other: the same image, name or address twice, and more queues than vCPUs.
#include <fmt/format.h>

#include <map>

#include "launcher/spec/rules_parts.hpp"
#include "launcher/text/printable.hpp"

namespace launcher::inline spec {

namespace {

template <class Kind>
void check_queues(Rules& rules, std::string_view table) {
  const unsigned vcpus = rules.spec.cpu.count;
  for (const auto& [key, device] : rules.devices<Kind>(table)) {
    if (!device->queues || *device->queues <= vcpus || !rules.sound("cpu.count") || !rules.sound(key + ".queues"))
      continue;
    rules.add(
        key + ".queues",
        fmt::format("{} for {}; wanted at most one for each vCPU: more would stay idle",
                    count_of(*device->queues, "queue"), count_of(vcpus, "vCPU")),
        fmt::format("set queues = {}, or remove it for \"auto\", or raise cpu.count to {}", vcpus, *device->queues));
  }
}

// One problem for each device whose value an earlier one has; "" values are no value.
template <class Kind, class Value, class Message>
void check_unique(Rules& rules, std::string_view table, std::string_view key, const Value& value,
                  const Message& message) {
  std::map<std::string, std::string> seen;
  for (const auto& [name, device] : rules.devices<Kind>(table)) {
    const std::string own = value(*device), full = fmt::format("{}.{}", name, key);
    if (own.empty() || !rules.sound(full)) continue;
    if (const auto [before, fresh] = seen.emplace(own, name); !fresh) {
      const auto [what, help] = message(*device, before->second);
      rules.add(full, what, help);
    }
  }
}

}  // namespace

void check_queues_of_all(Rules& rules) {
  check_queues<Disk>(rules, "disk");
  check_queues<Nic>(rules, "net");
}

void check_guest(Rules& rules) {
  if (rules.spec.windows && !rules.devices<Guest>("guest").empty() && rules.sound("guest") && rules.sound("windows"))
    rules.add("guest", "there with windows = true; wanted one of them: these are settings of Linux", "remove [guest]");
}

void check_duplicates(Rules& rules) {
  using Words = std::pair<std::string, std::string>;
  check_unique<Nic>(
      rules, "net", "mac", [](const Nic& nic) { return nic.mac; },
      [](const Nic& nic, const std::string& other) {
        return Words(fmt::format("{} is the address of {} too; wanted one of its own", nic.mac, other),
                     "change one, or remove it: it is then derived from the VM's name");
      });
  check_unique<Nic>(
      rules, "net", "tap", [](const Nic& nic) { return nic.tap; },
      [](const Nic& nic, const std::string& other) {
        return Words(fmt::format("{} is the tap of {} too; wanted one for each card", printable(nic.tap), other),
                     "name another tap, or use bridge = \"...\" and let vmrun make them");
      });
  check_unique<Credential>(
      rules, "credential", "name", [](const Credential& one) { return one.name; },
      [](const Credential& one, const std::string& other) {
        return Words(fmt::format("{} is the name of {} too; wanted each once", printable(one.name), other),
                     "remove one of the two");
      });
  check_unique<Share>(
      rules, "share", "tag", [](const Share& share) { return share.tag; },
      [](const Share& share, const std::string& other) {
        return Words(fmt::format("\"{}\" is the tag of {} too; wanted one of its own: the guest mounts by it",
                                 printable(share.tag), other),
                     "change one of the two");
      });
  check_unique<Disk>(
      rules, "disk", "serial", [](const Disk& disk) { return disk.serial; },
      [](const Disk& disk, const std::string& other) {
        return Words(fmt::format("\"{}\" is the serial of {} too; wanted one of its own: guests find disks by it",
                                 printable(disk.serial), other),
                     "change one, or remove it: it is then derived from the VM's name");
      });
  const auto disks = rules.devices<Disk>("disk");
  for (std::size_t i = 0; i < disks.size(); ++i)
    for (std::size_t earlier = 0; earlier < i; ++earlier) {
      const Disk &one = *disks[earlier].second, &two = *disks[i].second;
      if (two.path.empty() || one.path != two.path || (!one.writes() && !two.writes())) continue;
      rules.add(disks[i].first + ".path",
                fmt::format("this is the image of {} too, and not both are read-only; wanted one disk for a writable "
                            "image: two would destroy it",
                            disks[earlier].first),
                "name another image, or set read_only = true on both");
      break;
    }
}

// Disks that share something say the same of it as the first of them, or nothing.
void check_shared(Rules& rules) {
  const auto disks = rules.devices<Disk>("disk");
  std::map<std::string, std::size_t> first;
  for (std::size_t i = 0; i < disks.size(); ++i)
    for (const std::string& name :
         {"pool " + disks[i].second->iothread_pool, "limit " + disks[i].second->limit.group}) {
      if (name.ends_with(' ')) continue;
      const auto [before, fresh] = first.emplace(name, i);
      if (fresh && name.starts_with("limit ") && !disks[i].second->limit.has_rates() &&
          rules.sound(disks[i].first + ".limit"))
        rules.add(disks[i].first + ".limit.group",
                  "nothing is said of this limit here or before; wanted its rates on the first disk that has it",
                  "add iops = ... or bytes = \"...\" to this disk's limit");
      if (fresh) continue;
      Disk one = *disks[before->second].second, two = *disks[i].second;
      if (name.starts_with("pool ")) one.limit = two.limit = {};
      if (name.starts_with("limit ")) one.iothread_pool = two.iothread_pool = "";
      for (Problem& problem : sharing_problems(one, disks[before->second].first, two, disks[i].first))
        if (rules.sound(problem.key)) rules.broken.push_back(std::move(problem));
    }
}

}  // namespace launcher::spec
