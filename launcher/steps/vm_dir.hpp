// One VM's directory below /run/vmrun, with its owner, plan, journal and state. The rule: a VM's claim is its directory, made under the lock
// before its first step and removed after its last undo.
#pragma once

#include <boost/json/fwd.hpp>
#include <expected>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "launcher/host/process.hpp"
#include "launcher/steps/context.hpp"
#include "launcher/steps/journal.hpp"
#include "launcher/steps/run_base.hpp"
#include "topology/reservations.hpp"

namespace launcher::inline steps {

// What a VM's threads are for, and where they were put: `show` compares it with the kernel.
struct ThreadRecord {
  pid_t tid = 0;
  std::string role;  // "vcpu 0", "iothread io-disk0", "vhost", "emulator"
  topology::CpuSet cpus;
  unsigned fifo = 0;  // SCHED_FIFO priority; 0: ordinary scheduling
  friend bool operator==(const ThreadRecord&, const ThreadRecord&) = default;
};

enum class Phase { starting, running, paused, stopping };

struct State {
  Phase phase = Phase::starting;
  std::optional<ProcessId> qemu;
  std::vector<Helper> helpers;
  std::vector<ThreadRecord> threads;
  std::int64_t since = 0;   // unix seconds
  bool pages_held = false;  // QEMU has its pages; until then they are pending in the ledger
  std::optional<std::vector<std::string>> left =
      {};  // what the kernel kept as it was, "PATH stays ..."; older records have none
};

// Reading tolerates whatever a crash left (a torn line, a missing file); what cannot be understood is told by unreadable().
class VmDir {
 public:
  // Under the lock. Errors: the name is taken (by whom, since when). Writes `owner`.
  static std::expected<VmDir, std::string> claim(const std::filesystem::path& base, const std::string& name);
  static std::vector<VmDir> all(const std::filesystem::path& base);  // sorted by name
  static std::optional<VmDir> find(const std::filesystem::path& base, const std::string& name);

  // What `vmrun host tune` changed is written down in the same way, under a name that no VM has, so that all() and find()
  // pass over it. Under the lock; make: where it is not there yet.
  static std::optional<VmDir> of_host(const std::filesystem::path& base, bool make);

  const std::string& name() const { return name_; }
  const std::filesystem::path& path() const { return path_; }

  std::optional<ProcessId> owner() const;
  bool owner_alive() const;

  // What is there and cannot be read, one sentence each: of another version, torn, or not ours. Such a VM stays claimed.
  std::vector<std::string> unreadable() const;

  void write_plan(const std::string& json) const;
  std::optional<boost::json::value> read_plan() const;
  topology::Reservation reservation() const;  // empty one if the plan is not there yet

  void write_state(const State& state) const;  // replaced atomically
  State read_state() const;

  const Journal& journal() const { return journal_; }

  void remove() const;  // the claim ends here

 private:
  VmDir(const std::filesystem::path& path, std::string name)
      : path_(path), name_(std::move(name)), journal_(path / "journal") {}
  std::filesystem::path path_;
  std::string name_;
  Journal journal_;
};

}  // namespace launcher::steps
