// The keys of [[pci]].
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "launcher/devices/identity.hpp"
#include "launcher/devices/nic.hpp"
#include "launcher/devices/pci.hpp"
#include "launcher/devices/pci_classes.hpp"
#include "launcher/text/toml_reader.hpp"

namespace launcher::inline devices {

namespace {

std::string read_address(TableReader& table, std::string_view key) {
  const std::string text = table.text(key, "");
  if (text.empty()) return {};
  if (const auto address = pci_function_address(text)) return *address;
  table.problem(key,
                fmt::format("\"{}\" is no PCI address; wanted domain, bus, device and function in hex digits", text),
                fmt::format("for example {} = \"0000:81:00.0\"; `lspci -D` lists what this host has", key));
  return {};
}

// RFC 9562's form, as the kernel writes it below /sys/bus/mdev/devices.
std::string read_mdev(TableReader& table) {
  const std::string text = lowered(table.text("mdev", ""));
  if (text.empty()) return {};
  if (is_uuid(text)) return text;
  table.problem("mdev", fmt::format("\"{}\" is no UUID; wanted that of a mediated device", text),
                "for example mdev = \"53764d0e-85a0-42b4-af5c-2046b460b1dc\"; `ls /sys/bus/mdev/devices` lists what "
                "this host has");
  return {};
}

// An address, or the name of a network interface.
std::string read_physical(TableReader& table) {
  std::string text = table.text("vf_of", "");
  if (text.empty()) return {};
  if (const auto address = pci_function_address(text)) return *address;
  constexpr std::size_t longest = 15;  // IFNAMSIZ without its zero byte
  const bool bad_byte = std::any_of(text.begin(), text.end(),
                                    [](unsigned char c) { return c <= 0x20 || c == 0x7f || c == '/' || c == ':'; });
  if (text.size() <= longest && !bad_byte && text != "." && text != "..") return text;
  table.problem(
      "vf_of",
      fmt::format("\"{}\" is neither a PCI address nor the name of a network interface; wanted one of them", text),
      "for example vf_of = \"0000:81:00.0\" or vf_of = \"enp129s0\"");
  return {};
}

// Its port in the card's own switch.
VfPort read_port(TableReader& table) {
  VfPort port;
  if (const auto vlan = table.integer_or_auto("vlan", 0, 4094)) port.vlan = static_cast<unsigned>(*vlan);
  port.trust = table.flag_or_auto("trust");
  port.spoof_check = table.flag_or_auto("spoof_check");
  return port;
}

void check_which(TableReader& table) {
  std::vector<std::string_view> ways;
  for (const std::string_view key : {"address", "mdev", "class", "vf_of"})
    if (table.has(key)) ways.push_back(key);
  if (ways.size() == 1) return;
  table.problem(
      ways.empty() ? "address" : ways[1],
      ways.empty() ? "this table says not which function; wanted address, mdev, class or vf_of"
                   : fmt::format("given together with {}; wanted only one of address, mdev, class and vf_of", ways[0]),
      "address names a function, mdev a mediated device, class takes the first free one, vf_of takes a virtual "
      "function");
}

void check_belongs(TableReader& table, std::string_view key, std::string_view other, const char* why) {
  if (table.has(key) && !table.has(other))
    table.problem(key, fmt::format("given without {}, but {}; wanted both or neither", other, why),
                  fmt::format("add {}, or remove {}", other, key));
}

}  // namespace

Pci Pci::read(TableReader& table) {
  Pci pci;
  pci.address = read_address(table, "address");
  pci.mdev = read_mdev(table);
  const std::size_t class_index = table.choice("class", pci_class_names(), 0);
  if (table.has("class")) pci.class_name = pci_class_names()[class_index];
  pci.node = table.integer_or_auto("node", 0, 1023);
  pci.vf_of = read_physical(table);
  pci.vfs = table.integer_or_auto("vfs", 1, 256);
  pci.mac = read_mac(table);
  pci.port = read_port(table);
  pci.expose_node = table.flag_or_auto("expose_node");
  pci.iommufd = table.flag_or_auto("iommufd");
  pci.rom = table.flag("rom", true);
  pci.rom_file = table.path("rom_file", false);
  if (!pci.rom && !pci.rom_file.empty())
    table.problem("rom_file", "given, but rom = false hides it from the guest; wanted one of the two",
                  "remove rom, or rom_file");
  if (!pci.mdev.empty() && pci.iommufd == true)
    table.problem("iommufd", "true with mdev, whose driver may know IOMMU groups only; wanted one of the two",
                  "remove iommufd");
  check_which(table);
  check_belongs(table, "node", "class", "a function that is named hangs where it hangs");
  check_belongs(table, "vfs", "vf_of", "only a physical function has virtual ones");
  check_belongs(table, "mac", "vf_of", "only a virtual function's address can be set from outside");
  for (const char* key : {"vlan", "trust", "spoof_check"})
    check_belongs(table, key, "vf_of", "only a virtual function has a port in the card that can be set from outside");
  return pci;
}

}  // namespace launcher::devices
