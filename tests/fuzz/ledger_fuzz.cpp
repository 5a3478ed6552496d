// A VM's directory as anybody may have left it, another user above all: owner, plan, state and journal of any bytes. Reading answers or
// throws the one error that says so; a name, a number or a path in there is nothing more. Input: the four files, with a zero byte between.
#include <boost/json.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>

#include "launcher/steps/ledger.hpp"
#include "launcher/steps/vm_dir.hpp"
#include "tests/fakes/temp_dir.hpp"

namespace {

namespace fs = std::filesystem;

// A run base with one VM's directory, made once.
const fs::path& base() {
  static const fakes::TempDir made;
  static const bool has_vm = fs::create_directory(made / "v");
  if (!has_vm) std::abort();
  return made.path();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  setenv("VMRUN_RUN_DIR", base().c_str(), 1);  // no other ledger is looked at
  std::string_view left(reinterpret_cast<const char*>(data), size);
  for (const char* name : {"owner", "plan.json", "state.json", "journal"}) {
    const auto end = left.find('\0');
    std::ofstream(base() / "v" / name, std::ios::binary | std::ios::trunc) << left.substr(0, end);
    left.remove_prefix(end == left.npos ? left.size() : end + 1);
  }
  const auto dir = launcher::VmDir::find(base(), "v");
  if (!dir) std::abort();
  (void)dir->owner();
  (void)dir->read_plan();
  (void)dir->read_state();
  (void)launcher::makers_of_vfs(base());
  const bool readable = dir->unreadable().empty();
  try {
    (void)launcher::read_reservations(base());
  } catch (const std::runtime_error&) {
    if (readable) std::abort();  // it is refused for what cannot be read, and that is told
  }
  topology::HostTopology host;
  launcher::subtract_pending(host, base());
  return 0;
}
