// Where the plan's devices are on the board, in which order they boot, and which paths libvirt's schema does not take.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstring>
#include <optional>
#include <set>

#include "launcher/devices/qemu_members.hpp"
#include "launcher/import/export_parts.hpp"
#include "launcher/import/walk.hpp"

namespace launcher::inline import {

std::string Domain::property(const std::string& id, std::string_view key) const {
  for (const Arg& arg : plan.args) {
    if (arg.option != "-device") continue;
    const Members members = members_of(arg.value);
    if (member(members, "id") == id) return member(members, key);
  }
  return {};
}

namespace {

unsigned hex(std::string_view text) {
  unsigned number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number, 16);
  return number;
}

}  // namespace

void Domain::place(XmlElement& device, const std::string& id) const {
  const std::string at = property(id, "addr"), bus = property(id, "bus");
  if (bus.starts_with("bus") && bus.ends_with("-port"))  // libvirt makes the root ports up to that one itself
    device.add("address")
        .set("type", "pci")
        .set("domain", "0x0000")
        .set("bus", "0x0" + bus.substr(3, 1))
        .set("slot", "0x00")
        .set("function", "0x0");
  if (at.empty() || !bus.empty()) return;
  const std::size_t dot = at.find('.');
  XmlElement& address = device.add("address").set("type", "pci").set("domain", "0x0000").set("bus", "0x00");
  address.set("slot", fmt::format("0x{:02x}", hex(at.substr(0, dot))))
      .set("function", fmt::format("0x{:x}", dot == at.npos ? 0 : hex(at.substr(dot + 1))));
  if (property(id, "multifunction") == "on") address.set("multifunction", "on");
}

// libvirt counts from 1; QEMU's indices have gaps.
void Domain::boot_order(XmlElement& device, const std::string& id) const {
  const auto own = number_of(property(id, "bootindex"));
  if (!own) return;
  std::set<std::uint64_t> all;
  for (const Arg& arg : plan.args)
    if (arg.option == "-device")
      if (const auto index = number_of(member(members_of(arg.value), "bootindex"))) all.insert(*index);
  device.add("boot").set("order", std::to_string(1 + std::distance(all.begin(), all.find(*own))));
}

std::optional<std::size_t> Domain::iothread(const std::string& id) const {
  std::string name = property(id, "iothread");
  if (name.empty()) name = property(id, "iothread-vq-mapping.0.iothread");
  const auto found = std::ranges::find(plan.iothreads, name, &IothreadPin::id);
  if (name.empty() || found == plan.iothreads.end()) return std::nullopt;
  return static_cast<std::size_t>(found - plan.iothreads.begin()) + 1;
}

std::string disk_name(const char* prefix, unsigned index) {
  std::string letters;
  for (unsigned rest = index + 1; rest > 0; rest = (rest - 1) / 26)
    letters.insert(letters.begin(), static_cast<char>('a' + (rest - 1) % 26));
  return prefix + letters;
}

namespace {

// What the schema's absFilePath takes.
bool plain_path(std::string_view path) {
  return std::ranges::all_of(
      path, [](unsigned char c) { return std::isalnum(c) != 0 || std::strchr("_.+-\\&\"'<>/%,:", c) != nullptr; });
}

void odd_paths_below(const XmlElement& element, Domain& to) {
  for (const auto& [key, value] : element.attributes)
    if (value.starts_with('/') && !plain_path(value))
      to.row(fmt::format("{} {}", key, value), Verb::dropped,
             "libvirt's schema takes no such path: give the file a plain name first");
  for (const XmlElement& child : element.children) odd_paths_below(child, to);
}

}  // namespace

void Domain::odd_paths(const XmlElement& element) { odd_paths_below(element, *this); }

}  // namespace launcher::import
