// Where the plan's devices are on the board, and which paths libvirt's schema does not take.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "launcher/import/export_parts.hpp"

namespace launcher::inline import {

namespace {

struct Place {
  unsigned slot, function;
  bool several;  // functions in the slot
};

// "virtio-blk-pci,id=disk0,...,addr=08.1,multifunction=on"
std::optional<Place> place_of(const LaunchPlan& plan, const std::string& id) {
  for (const Arg& arg : plan.args) {
    if (arg.option != "-device" || (arg.value + ",").find(",id=" + id + ",") == std::string::npos) continue;
    const std::size_t at = arg.value.find(",addr=");
    if (at == arg.value.npos || arg.value.find(",bus=") != arg.value.npos) return std::nullopt;
    const std::string text = arg.value.substr(at + 6, arg.value.find(',', at + 6) - at - 6);
    char* rest = nullptr;
    const unsigned slot = static_cast<unsigned>(std::strtoul(text.c_str(), &rest, 16));
    const unsigned function = *rest == '.' ? static_cast<unsigned>(std::strtoul(rest + 1, nullptr, 16)) : 0;
    return Place{slot, function, arg.value.find("multifunction=on") != arg.value.npos};
  }
  return std::nullopt;
}

}  // namespace

void Domain::place(XmlElement& device, const std::string& id) const {
  const auto place = place_of(plan, id);
  if (!place) return;
  XmlElement& address = device.add("address").set("type", "pci").set("domain", "0x0000").set("bus", "0x00");
  address.set("slot", fmt::format("0x{:02x}", place->slot)).set("function", fmt::format("0x{:x}", place->function));
  if (place->several) address.set("multifunction", "on");
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
      to.row(key + " " + value, Verb::dropped, "libvirt's schema takes no such path: give the file a plain name first");
  for (const XmlElement& child : element.children) odd_paths_below(child, to);
}

}  // namespace

void Domain::odd_paths(const XmlElement& element) { odd_paths_below(element, *this); }

}  // namespace launcher::import
