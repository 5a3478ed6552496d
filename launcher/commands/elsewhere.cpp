#include "launcher/commands/elsewhere.hpp"

#include <fmt/format.h>

#include <cstdlib>
#include <system_error>

#include "launcher/steps/vm_dir.hpp"

namespace launcher::commands {

namespace fs = std::filesystem;

namespace {

void add(std::vector<OtherVm>& found, const fs::path& base, const std::string& whose, const std::string& reach) {
  for (const VmDir& dir : VmDir::all(base))
    if (dir.owner_alive()) found.push_back({dir.name(), whose, reach});
}

}  // namespace

std::vector<OtherVm> vms_elsewhere(const fs::path& mine, const fs::path& system, const fs::path& users) {
  std::vector<OtherVm> found;
  if (system != mine) add(found, system, "root", "sudo vmrun");
  std::error_code error;
  for (fs::directory_iterator at(users, error), end; !error && at != end; at.increment(error)) {
    const std::string uid = at->path().filename().string();
    const fs::path base = at->path() / "vmrun";
    if (base != mine)
      add(found, base, "user " + uid, fmt::format("sudo -u '#{}' XDG_RUNTIME_DIR={} vmrun", uid, at->path().string()));
  }
  return found;
}

std::vector<OtherVm> vms_elsewhere() {
  if (const char* own = std::getenv("VMRUN_RUN_DIR"); own != nullptr && *own != '\0') return {};
  return vms_elsewhere(run_base(), "/run/vmrun", "/run/user");
}

}  // namespace launcher::commands
