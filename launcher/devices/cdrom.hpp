// A CD or DVD drive on the board's own SATA controller: every firmware and installer knows it. The rule: what is in it is only read, and
// can be changed while the guest runs (`vmrun set NAME cdrom[0]=FILE`).
#pragma once

#include <string>

#include "launcher/devices/kind.hpp"
#include "launcher/facts/in_use.hpp"

namespace launcher::inline text {
class TableReader;
}  // namespace launcher::text

namespace launcher::inline devices {

struct DeviceContext;

struct Cdrom {
  std::string path;  // cdrom.path: an image (.iso) or a block device; "": nothing is in it

  struct Facts {
    std::string misfit = {};  // why it cannot be used; "" if it can
    bool is_block = false;
    std::string id = {};         // the same for every name of it; "" where nobody looked
    OtherNames names = {};       // its partitions, and what it is a part of
    std::string locked_by = {};  // the QEMU that writes to it; "" if none does
    friend bool operator==(const Facts&, const Facts&) = default;
  };

  static constexpr DeviceKind kind{.table = "cdrom"};
  static Cdrom read(TableReader& table);
  friend bool operator==(const Cdrom&, const Cdrom&) = default;
};

Cdrom::Facts look_at(const Cdrom& cdrom);
Cdrom::Facts assumed(const Cdrom& cdrom);
DeviceNeeds needs(const Cdrom& cdrom, const Cdrom::Facts& facts, unsigned vcpus);
void plan_device(const Cdrom& cdrom, const Cdrom::Facts& facts, DeviceContext& context);

}  // namespace launcher::devices
