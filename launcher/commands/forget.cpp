// `vmrun forget`: removes what is kept of a VM between its runs. The rule: under the lock, never of one that runs, and each thing is
// named that goes.
#include <fmt/format.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <filesystem>
#include <stdexcept>

#include "launcher/commands/commands.hpp"
#include "launcher/commands/inputs.hpp"
#include "launcher/commands/output.hpp"
#include "launcher/commands/reach.hpp"
#include "launcher/life/await_lock.hpp"
#include "launcher/plan/kept_state.hpp"
#include "launcher/text/printable.hpp"

namespace launcher::commands {

namespace {

namespace fs = std::filesystem;

std::string words_for(const std::string& name) {
  if (name == variables_file || name == variables_image) return "its UEFI variables";
  if (name == tpm_directory) return "its TPM's memory";
  if (name == maker_file) return "who made these";
  if (name == "runs") return "the records of its runs";
  return "of no kind that this vmrun knows";
}

std::vector<fs::path> kept_in(const fs::path& directory, bool maker_only) {
  std::vector<fs::path> kept;
  std::error_code none;
  if (fs::is_symlink(directory, none)) return kept;
  for (const auto& entry : fs::directory_iterator(directory, none))
    if (!maker_only || entry.path().filename() == maker_file) kept.push_back(entry.path());
  std::ranges::sort(kept);
  return kept;
}

}  // namespace

int forget(const Options& options) {
  const std::string& name = options.word(0, "a VM's name");
  if (!is_file_name(name)) throw UsageError("'" + printable(name) + "' is no name that a VM can have");
  const fs::path directory = fs::path(state_base(host_config_or_throw(options))) / name;
  const bool maker_only = options.flag("maker");
  const Lock lock = await_lock(run_base(), say);
  if (VmDir::find(run_base(), name)) {
    say(fmt::format("VM {0} runs, or a crash left something of it: `vmrun stop {0}` or `vmrun recover` first", name));
    return problems;
  }
  const std::vector<fs::path> kept = kept_in(directory, maker_only);
  if (kept.empty())
    throw std::runtime_error(fmt::format("nothing{} is kept of a VM '{}' ({})",
                                         maker_only ? " of who made its state" : "", printable(name),
                                         directory.string()));
  boost::json::array removed;
  for (const fs::path& path : kept) {
    fs::remove_all(path);  // a symlink itself, never what it leads to
    removed.emplace_back(path.string());
    if (!options.flag("json"))
      say(fmt::format("removed {}: {}", printable(path.string()), words_for(path.filename().string())));
  }
  std::error_code not_empty;
  fs::remove(directory, not_empty);
  if (options.flag("json")) print_json({{"name", name}, {"removed", removed}});
  return done;
}

}  // namespace launcher::commands
