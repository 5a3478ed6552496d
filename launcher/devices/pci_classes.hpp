// The classes of functions a spec can ask for, and their numbers (PCI Code and ID Assignment Specification).
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace launcher::inline devices {

inline constexpr std::array<std::pair<std::string_view, std::string_view>, 7> pci_classes{{{"nvme", "0108"},
                                                                                           {"net", "02"},
                                                                                           {"gpu", "03"},
                                                                                           {"qat", "0b40"},
                                                                                           {"sound", "0403"},
                                                                                           {"usb", "0c03"},
                                                                                           {"fpga", "1200"}}};

inline std::vector<std::string> pci_class_names() {
  std::vector<std::string> names;
  names.reserve(pci_classes.size());
  for (const auto& [name, prefix] : pci_classes) names.emplace_back(name);
  return names;
}

inline std::string_view class_prefix(std::string_view name) {
  for (const auto& [one, prefix] : pci_classes)
    if (one == name) return prefix;
  return "?";
}

}  // namespace launcher::devices
