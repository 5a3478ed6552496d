// Persistent memory: a file or a devdax device as an NVDIMM. Guide 001.
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

struct Nvdimm {
  std::string path;                      // nvdimm.path, required
  std::optional<topology::Bytes> size;   // nvdimm.size; auto: the file's or device's
  std::optional<topology::Bytes> align;  // nvdimm.align; auto: a devdax device's own, 2M for a file
  topology::Bytes label_size = {0};      // nvdimm.label_size: 0, or at least 128K
  bool read_only = false;                // nvdimm.read_only
  bool pmem = false;                     // nvdimm.pmem: the host's memory behind it is persistent too

  struct Facts {
    std::optional<unsigned> node;
    std::string misfit = {};  // why the file cannot be used; "" if it can
    bool is_device = false;
    std::string id;                       // the same for every name of the file; "" where nobody looked
    std::string locked_by;                // the QEMU that has it as a disk; "" if none has
    std::string used_by_host;             // "it is swap"; "" if the host leaves it alone
    topology::Bytes size, align;          // align: of a devdax device
    unsigned uid = 0, gid = 0, mode = 0;  // of the file
    friend bool operator==(const Facts&, const Facts&) = default;
  };

  static constexpr DeviceKind kind{.table = "nvdimm"};
  static Nvdimm read(TableReader& table);
  friend bool operator==(const Nvdimm&, const Nvdimm&) = default;
};

Nvdimm::Facts look_at(const Nvdimm& nvdimm);
Nvdimm::Facts assumed(const Nvdimm& nvdimm);
DeviceNeeds needs(const Nvdimm& nvdimm, const Nvdimm::Facts& facts, unsigned vcpus);
void plan_device(const Nvdimm& nvdimm, const Nvdimm::Facts& facts, DeviceContext& context);

}  // namespace launcher::devices
