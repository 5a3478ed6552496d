// The text of a new VM's spec, for a person to go on with. The rule: it is a pure function of what was asked and of what fits this host;
// each line that somebody may want to change says what it is.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "topology/bytes.hpp"

namespace launcher::inline guest {

struct NewVm {
  std::string name;
  unsigned cpus = 1;
  topology::Bytes memory;
  std::string profile;  // "": none
  std::string disk;     // its image, beside the spec
  std::string image;    // what it stands on; "": an empty disk
  std::vector<std::string> cds;
  bool emulated = false;         // no virtio: for an installer that has no drivers for it
  std::string bridge;            // "": a network of its own
  bool passt = false;            // is there one?
  bool vsock = false;            // may this user open the host's?
  std::optional<unsigned> port;  // of this host, to the guest's port 22
  std::string user;
  std::vector<std::string> ssh_keys;
  friend bool operator==(const NewVm&, const NewVm&) = default;
};

std::string new_spec(const NewVm& vm);

// Half of the CPUs, 1 to 4.
unsigned fitting_cpus(std::size_t of_host);
// A quarter of what is free, 512M to 4G, in whole 512M; Windows: at least 4G.
topology::Bytes fitting_memory(topology::Bytes available, bool windows);

}  // namespace launcher::guest
