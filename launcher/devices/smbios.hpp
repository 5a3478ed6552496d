// What the board's firmware tells the guest of itself.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launcher/devices/kind.hpp"

namespace launcher::inline text {
class TableReader;
}  // namespace launcher::text

namespace launcher::inline devices {

struct DeviceContext;

struct Smbios {
  // smbios.manufacturer, product, version, serial, sku, family: of table 1; "" leaves QEMU's
  std::string manufacturer, product, version, serial, sku, family;
  std::vector<std::string> strings;  // smbios.strings: of table 11, for the guest's own use

  struct Facts {
    friend bool operator==(const Facts&, const Facts&) = default;
  };

  static constexpr DeviceKind kind{.table = "smbios", .many = false};
  static Smbios read(TableReader& table);
  friend bool operator==(const Smbios&, const Smbios&) = default;
};

Smbios::Facts look_at(const Smbios& smbios);
Smbios::Facts assumed(const Smbios& smbios);
DeviceNeeds needs(const Smbios& smbios, const Smbios::Facts& facts, unsigned vcpus);
void plan_device(const Smbios& smbios, const Smbios::Facts& facts, DeviceContext& context);

}  // namespace launcher::devices
