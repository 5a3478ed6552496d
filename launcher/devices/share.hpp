// A share: a directory of the host's that the guest mounts by its tag (virtiofs), served by virtiofsd beside QEMU. Owns PCI
// slots 0x18-0x1e. The rule: virtiofsd keeps its own sandbox; what this virtiofsd cannot do is refused.
#pragma once

#include <optional>
#include <string>

#include "launcher/devices/kind.hpp"

namespace launcher::inline text {
class TableReader;
}  // namespace launcher::text

namespace launcher::inline facts {
struct HostConfig;
}  // namespace launcher::facts

namespace launcher::inline devices {

struct DeviceContext;

struct Share {
  enum class Cache { automatic, always, metadata, never };

  std::string path;                // share.path, required: a directory; absolute after read()
  std::string tag;                 // share.tag, required, at most 36 bytes (virtio 1.2 section 5.11.4)
  bool read_only = false;          // share.read_only
  Cache cache = Cache::automatic;  // share.cache
  bool special_files = false;      // share.special_files: the guest may make device nodes and give files capabilities
  std::optional<unsigned> queue_size;  // share.queue_size; auto: QEMU's own

  struct Facts {
    std::string misfit = {};  // why the directory cannot be shared; "" if it can
    std::string ours = {};    // vmrun's own directory, into which the guest could write; "" if it cannot
    std::string virtiofsd;    // the program; "": not found
    bool rust = true;         // of the two programs of this name, the later one; false: that of QEMU up to 7.2
    bool knows_readonly = true;
    std::string why;  // why it cannot be used; "" if it can
    friend bool operator==(const Facts&, const Facts&) = default;
  };

  static constexpr DeviceKind kind{.table = "share", .first_slot = slots::shares, .slots = 7};
  static Share read(TableReader& table);  // problems go to the reader
  friend bool operator==(const Share&, const Share&) = default;
};

Share::Facts look_at(const Share& share, const HostConfig& config);
Share::Facts assumed(const Share& share);
DeviceNeeds needs(const Share& share, const Share::Facts& facts, unsigned vcpus);
void plan_device(const Share& share, const Share::Facts& facts, DeviceContext& context);

}  // namespace launcher::devices
