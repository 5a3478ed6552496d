// `vmrun wait`: until a VM has ended and everything is put back, and how it ended. The rule: the exit code is what its `vmrun run`
// ended with, also where it was over before we looked.
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <boost/json/object.hpp>
#include <cerrno>
#include <chrono>
#include <thread>

#include "launcher/commands/commands.hpp"
#include "launcher/commands/guest.hpp"
#include "launcher/commands/inputs.hpp"
#include "launcher/commands/output.hpp"
#include "launcher/commands/reach.hpp"
#include "launcher/guest/ready.hpp"
#include "launcher/host/fd.hpp"
#include "launcher/life/run_record.hpp"
#include "launcher/text/printable.hpp"

namespace launcher::commands {

namespace {

// A directory is made a moment before its owner is written down.
std::optional<ProcessId> owner_of(const VmDir& dir) {
  for (int attempt = 0; attempt < 100; ++attempt) {
    if (const auto owner = dir.owner()) return owner;
    if (!VmDir::find(run_base(), dir.name())) return std::nullopt;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return std::nullopt;
}

void await(const ProcessId& keeper, const std::string& name, const std::optional<double>& timeout) {
  const Fd fd(open_pidfd(keeper));
  if (!fd) return;
  pollfd waiting{fd.get(), POLLIN, 0};
  int ready = 0;
  do {
    ready = poll(&waiting, 1, timeout ? static_cast<int>(*timeout * 1000) : -1);
  } while (ready < 0 && errno == EINTR);
  if (ready == 0) throw std::runtime_error("VM " + name + " still runs");
}

// The run of that keeper; without one the last run.
std::optional<RunRecord> record_of(const Options& options, const std::string& name,
                                   const std::optional<ProcessId>& keeper) {
  const auto records = read_records(runs_directory(state_base(host_config_or_throw(options)), name));
  for (auto record = records.rbegin(); record != records.rend(); ++record)
    if (!keeper || record->keeper == *keeper) return *record;
  return std::nullopt;
}

int tell_end(const Options& options, const std::string& name, const RunRecord& record) {
  const bool seen = record.ended != 0;
  const int code = seen ? record.exit_code : failed;
  if (options.flag("json"))
    print_json({{"name", name},
                {"ended", true},
                {"how", seen ? record.how : "unseen"},
                {"reason", ending_of(record)},
                {"asked", record.asked},
                {"qemu_exit", record.qemu_exit},
                {"exit_code", code}});
  else
    say(fmt::format("VM {}: {}", name, printable(ending_of(record))));
  return code;
}

// By the keeper's word, where the spec has it wait for the guest, or by the guest's own.
int await_ready(const Options& options, const VmDir& dir) {
  const auto timeout = options.number("timeout");
  const auto start = std::chrono::steady_clock::now();
  std::optional<std::string> how;
  while (!how) {
    if (!dir.owner_alive()) throw std::runtime_error("VM " + dir.name() + " has ended");
    if (std::filesystem::exists(dir.path() / "ready")) how = "it said so";
    if (!how && dir.read_plan()) how = ready_now(ReadySpec::By::guest, access_or_throw(dir), dir.path());
    if (how) break;
    if (timeout && std::chrono::steady_clock::now() - start > std::chrono::duration<double>(*timeout))
      throw std::runtime_error("VM " + dir.name() + " is not ready");
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
  }
  if (options.flag("json"))
    print_json({{"name", dir.name()}, {"ready", true}, {"how", *how}});
  else
    say(fmt::format("VM {} is ready: {}", dir.name(), *how));
  return done;
}

}  // namespace

int wait(const Options& options) {
  if (options.flag("ready")) return await_ready(options, named_vm(options));
  const std::string& name = options.word(0, "a VM's name");
  const auto dir = VmDir::find(run_base(), name);
  const auto owner = dir ? owner_of(*dir) : std::nullopt;
  if (owner) await(*owner, name, options.number("timeout"));
  if (const auto record = is_file_name(name) ? record_of(options, name, owner) : std::nullopt)
    return tell_end(options, name, *record);
  if (!dir) named_vm(options);  // says so
  if (options.flag("json")) print_json({{"name", name}, {"ended", true}});
  return done;
}

}  // namespace launcher::commands
