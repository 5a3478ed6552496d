// `vmrun host tune --persist`: the same settings in drop-in files for the next boots. The rule: what is written is in a manifest
// first, with its content, and only a file that still has that content is ever replaced or removed.
#pragma once

#include <expected>
#include <filesystem>
#include <string>
#include <vector>

#include "launcher/tune/tuning.hpp"

namespace launcher::inline tune {

struct DropIn {
  std::string path;  // below /etc
  std::string text;  // of a symbolic link: where it points to
  bool link = false;
  friend bool operator==(const DropIn&, const DropIn&) = default;
};
struct Lasting {
  std::vector<DropIn> files;
  std::string boot;  // words for the kernel's command line, which vmrun never writes there
};
Lasting lasting_of(const Tuning& tuning, const Audit& audit);

// $VMRUN_ETC_DIR, else /etc.
std::filesystem::path etc_dir();
// Files of an earlier --persist that are not wanted any more are removed. Error: a file is in the way that is not ours.
std::expected<void, std::string> persist(const std::vector<DropIn>& files, const std::filesystem::path& etc,
                                         const std::filesystem::path& state);
struct Unpersisted {
  std::vector<std::string> removed;
  std::vector<std::string> kept;  // why each was: somebody has edited it
};
Unpersisted unpersist(const std::filesystem::path& etc, const std::filesystem::path& state);

}  // namespace launcher::tune
