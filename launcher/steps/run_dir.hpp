// /run/vmrun (or $XDG_RUNTIME_DIR/vmrun): the lock, and a directory per VM with its plan, journal and state. The rule: a
// VM's claim is its directory, made under the lock before its first step and removed after its last undo; the ledger of
// CPUs and pages is nothing but these directories.
#pragma once

#include <boost/json/value.hpp>
#include <expected>
#include <filesystem>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "launcher/host/process.hpp"
#include "launcher/steps/step.hpp"
#include "topology/host_topology.hpp"
#include "topology/reservations.hpp"

namespace launcher::inline steps {

// $VMRUN_RUN_DIR, else /run/vmrun for root, else $XDG_RUNTIME_DIR/vmrun, else /tmp/vmrun-UID.
std::filesystem::path run_base();

// An exclusive flock on BASE/.lock; waits. Throws std::system_error.
class Lock {
 public:
  explicit Lock(const std::filesystem::path& base);
  // waiting: called some twenty times a second while another holds it; may throw to leave.
  Lock(const std::filesystem::path& base, const std::function<void()>& waiting);
  ~Lock();
  Lock(Lock&& other) noexcept;
  Lock& operator=(Lock&&) = delete;

 private:
  int fd_ = -1;
};

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
};

// One VM's directory. Reading tolerates whatever a crash left (a torn line, a missing file).
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

  void write_plan(const std::string& json) const;
  std::optional<boost::json::value> read_plan() const;
  topology::Reservation reservation() const;  // empty one if the plan is not there yet

  void write_state(const State& state) const;  // replaced atomically
  State read_state() const;

  // The journal: undo steps still to be done, oldest first; each line is one write(2).
  struct Undo {
    std::size_t number = 0;
    Step step;
  };
  void journal_undo(std::size_t number, const Step& undo) const;
  void journal_undone(std::size_t number) const;
  std::vector<Undo> pending() const;

  void remove() const;  // the claim ends here

 private:
  VmDir(std::filesystem::path path, std::string name) : path_(std::move(path)), name_(std::move(name)) {}
  std::filesystem::path path_;
  std::string name_;
};

// The pending undos of a journal, oldest first. Whatever the bytes are (fuzzed): a torn or broken line is passed over.
std::vector<VmDir::Undo> parse_journal(std::string_view text);

// The ledger. Pages that a starting VM has claimed but not yet touched still count as free in the kernel's files:
// subtract_pending takes them out of `host`.
topology::Reservations read_reservations(const std::filesystem::path& base);
void subtract_pending(topology::HostTopology& host, const std::filesystem::path& base);

// What the live VMs' journals say they raised each pool by.
std::vector<topology::PageClaim> all_raises(const std::filesystem::path& base);

// Physical PCI functions whose virtual ones a VM's journal has to remove; `except`: that VM does not count.
std::set<std::string> makers_of_vfs(const std::filesystem::path& base, const std::string& except = "");

// Under the lock: what the other VMs' journals say they raised this pool by.
std::uint64_t raises_of_others(const std::filesystem::path& base, const std::string& except, unsigned node,
                               topology::Bytes page);

}  // namespace launcher::inline steps
