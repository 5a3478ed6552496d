// `vmrun diff`: what differs between two runs, each given as a lock, a record, a spec, or a VM that runs.
#include <fmt/format.h>

#include <algorithm>
#include <boost/json/object.hpp>
#include <filesystem>

#include "launcher/commands/commands.hpp"
#include "launcher/commands/inputs.hpp"
#include "launcher/commands/locking.hpp"
#include "launcher/commands/output.hpp"
#include "launcher/commands/reach.hpp"
#include "launcher/record/run_part.hpp"

namespace launcher::commands {

namespace {

namespace fs = std::filesystem;

// The newest record that `--record` left there.
fs::path newest_in(const fs::path& directory) {
  fs::path newest;
  for (const fs::directory_entry& entry : fs::directory_iterator(directory))
    if (entry.path().extension() == ".json" &&
        (newest.empty() || fs::last_write_time(entry.path()) > fs::last_write_time(newest)))
      newest = entry.path();
  if (newest.empty()) throw UsageError(directory.string() + ": there is no record of a run in it");
  return newest;
}

LaunchLock lock_of_vm(const VmDir& dir, const Options& options) {
  const auto plan = dir.read_plan();
  if (!plan || !plan->is_object() || !dir.owner_alive()) throw UsageError("VM " + dir.name() + " does not run (yet)");
  LaunchLock lock = lock_of_plan("", plan->get_object(), naming_of(options), lock_telling(false));
  try {
    ::qmp::Client monitor = connect_monitor(dir);
    lock.run = look_at_run(dir, &monitor, dir.read_state().since);
  } catch (const std::exception& error) {
    say(fmt::format("VM {}: what its QEMU says is left out: {}", dir.name(), error.what()));
  }
  return lock;
}

std::optional<LaunchLock> lock_of_word(const std::string& word, const Options& options) {
  if (is_file_name(word))
    if (const auto dir = VmDir::find(run_base(), word); dir && !fs::is_regular_file(word))
      return lock_of_vm(*dir, options);
  if (fs::is_directory(word)) return read_lock(newest_in(word));
  if (fs::path(word).extension() != ".toml") {
    if (!fs::exists(word))
      throw UsageError(
          fmt::format("'{}' is no file, and no VM of that name runs; wanted a lock, a record, a spec (.toml) "
                      "or a VM's name",
                      word));
    return read_lock(word);
  }
  auto file = read_spec(word, options.all("set"));
  if (file) return lock_of_spec(*file, options, lock_telling(false));
  print_problems(file.error().problems, file.error().document ? &*file.error().document : nullptr,
                 options.flag("json"));
  return std::nullopt;
}

}  // namespace

int diff(const Options& options) {
  Comparison found;
  try {
    const auto was = lock_of_word(options.word(0, "a lock, a record, a spec or a VM"), options);
    const auto is = lock_of_word(options.word(1, "a second lock, record, spec or VM"), options);
    if (!was || !is) return problems;
    found = compare(*was, *is);
  } catch (const UsageError&) {
    throw;
  } catch (const std::exception& error) {  // 1 says that they differ
    throw UsageError(error.what());
  }
  if (options.flag("json")) {
    boost::json::array not_compared;
    for (const std::string& group : found.not_compared) not_compared.push_back(boost::json::string(group));
    print_json({{"version", 1},
                {"same", found.drifts.empty()},
                {"drifts", drifts_json(found.drifts)},
                {"not_compared", not_compared}});
  } else {
    print(drifts_text(found));
  }
  return found.drifts.empty() ? done : failed;
}

}  // namespace launcher::commands
