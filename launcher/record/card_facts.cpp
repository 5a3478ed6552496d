// The host's network cards that a VM's packets leave by: those in its bridge, below its macvtap, or whose virtual function it has.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "launcher/facts/card_settings.hpp"
#include "launcher/facts/pci_function.hpp"
#include "launcher/record/lock.hpp"
#include "launcher/record/plan_parts.hpp"

namespace launcher::inline record {

namespace json = boost::json;

namespace {

std::string link_file(const std::string& link, const std::string& file) {
  return fmt::format("/sys/class/net/{}/{}", link, file);
}

// What a step puts the guest on: a bridge, or the interface below.
std::string link_of(const topology::Sysfs& root, const std::string& kind, const json::object& step) {
  if (kind == "make_tap") return text_or_none(step, "bridge");
  if (kind == "make_macvtap") return text_or_none(step, "over");
  if (kind == "open_tap") return root.link_name(link_file(text_or_none(step, "name"), "master")).value_or("");
  return "";
}

// What is on the way: the link itself and all below it; of a circle once.
void add_below(const topology::Sysfs& root, const std::string& link, std::vector<std::string>& found) {
  if (link.empty() || std::ranges::find(found, link) != found.end()) return;
  found.push_back(link);
  constexpr std::string_view lower = "lower_";
  for (const std::string& entry : root.list(link_file(link, "")))
    if (entry.starts_with(lower)) add_below(root, entry.substr(lower.size()), found);
}

// "rx-0 3, rx-1 c": the queues of which one is set
std::string steering(const topology::Sysfs& root, const std::string& card, std::string_view direction) {
  std::vector<std::string> set;
  for (const std::string& queue : root.list(link_file(card, "queues"))) {
    if (!queue.starts_with(direction)) continue;
    const std::string file = direction == "rx" ? "rps_cpus" : "xps_cpus";
    const std::string cpus = root.read(link_file(card, fmt::format("queues/{}/{}", queue, file))).value_or("");
    if (cpus.find_first_not_of("0,") != cpus.npos) set.push_back(fmt::format("{} {}", queue, cpus));
  }
  return fmt::format("{}", fmt::join(set, ", "));
}

struct FileRow {
  const char *name, *file;
};
constexpr std::array card_files{FileRow{"MTU", "mtu"},
                                FileRow{"send queue", "tx_queue_len"},
                                FileRow{"GRO flush timeout", "gro_flush_timeout"},
                                FileRow{"interrupts deferred", "napi_defer_hard_irqs"},
                                FileRow{"polled by threads", "threaded"},
                                FileRow{"PCI link's speed", "device/current_link_speed"},
                                FileRow{"PCI link's width", "device/current_link_width"}};

Values facts_of(const topology::Sysfs& root, const std::string& card) {
  Values found;
  if (root.at("/") == "/") found = card_settings(card);  // a driver speaks for the machine that it runs on
  for (const FileRow& row : card_files)
    if (const auto text = root.read(link_file(card, row.file))) found[row.name] = *text;
  if (const auto speed = root.read(link_file(card, "speed")); speed && !speed->starts_with('-'))
    found["speed"] = fmt::format("{} Mb/s, {}", *speed, root.read(link_file(card, "duplex")).value_or("unknown"));
  if (const auto node = root.node_of(link_file(card, "device"))) found["node"] = std::to_string(*node);
  for (const auto& [name, direction] : {std::pair("receive steering", "rx"), {"send steering", "tx"}})
    if (const std::string set = steering(root, card, direction); !set.empty()) found[name] = set;
  return found;
}

}  // namespace

// A card is named after the first part of the spec that needs it, for its own name may hold an address of its.
Values card_facts(const topology::Sysfs& root, const json::object& plan) {
  std::vector<std::string> links;
  std::vector<std::pair<std::string, std::string>> on_the_way;  // of what; a link
  const auto add = [&](const std::string& role, const std::string& link) {
    const std::size_t before = links.size();
    add_below(root, link, links);
    for (std::size_t i = before; i < links.size(); ++i) on_the_way.emplace_back(role, links[i]);
  };
  for (const PlanStep& planned : steps_of(plan))
    add(planned.role.substr(0, planned.role.find('.')), link_of(root, planned.kind, *planned.step));
  for (const std::string& address : functions_of(plan))
    if (const auto physical = root.link_name(fmt::format("/sys/bus/pci/devices/{}/physfn", address)))
      for (const std::string& card : interfaces_of(root, *physical)) add("function " + address, card);
  Values found;
  std::map<std::string, int> seen;
  for (const auto& [role, link] : on_the_way) {
    if (const auto mode = root.read(link_file(link, "bonding/mode")))
      found["bond of " + role] =
          fmt::format("{}, {}", *mode, root.read(link_file(link, "bonding/xmit_hash_policy")).value_or(""));
    if (!root.exists(link_file(link, "device"))) continue;
    const int number = ++seen[role];
    for (const auto& [name, value] : facts_of(root, link))
      found[fmt::format("{} of {}{}", name, role, number == 1 ? "" : fmt::format(", card {}", number))] = value;
  }
  return found;
}

}  // namespace launcher::record
