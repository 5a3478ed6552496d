// A host whose verbs change a directory and a page of shared memory, so that a launch can be failed, or stopped dead, at
// every verb without root. The rule: what a crash leaves behind is left behind here too: pools in memory that the test and
// the launches it forks share, taps as locks that go with their last fd, sockets and processes as real ones.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "launcher/host/linux_host.hpp"

namespace fakes {

// Thrown where vmrun would have been killed: no std::exception, so nothing may catch it and tidy up.
struct StopDead {};

enum class When { before, after };  // the verb's effect

class FakeHost : public launcher::KernelFiles,
                 public launcher::NetLinks,
                 public launcher::Files,
                 public launcher::Processes,
                 public launcher::Host {
 public:
  explicit FakeHost(const std::filesystem::path& dir);  // an empty directory for what it keeps
  ~FakeHost() override;
  FakeHost(const FakeHost&) = delete;
  FakeHost& operator=(const FakeHost&) = delete;

  // --- what there is ---
  // most: more pages than that the kernel never grants; fragmented: more than `total` only after compact_memory.
  struct Pool {
    unsigned node = 0;
    topology::Bytes page;
    std::uint64_t total = 0, most = 1u << 30;
    bool fragmented = false;
  };
  void add_pool(const Pool& pool);
  void change_pool(const Pool& pool_now) { pool(pool_now.node, pool_now.page) = pool_now; }
  void add_persistent_tap(const std::string& name) { persistent_taps_.insert(name); }
  // A PCI function that this driver takes when it is probed; physical: whose virtual function it is.
  void add_function(const std::string& address, const std::string& driver, const std::string& physical = "");
  bool knows(const std::string& address) const;  // of such a function, there already or not
  // Opened as an empty file; as a directory, full of files without a name. Another path, but for those of /dev, is really opened.
  void add_file(const std::string& path) { files_.insert(path); }
  void add_owner(const std::string& path, unsigned uid) { owners_[path] = uid; }
  void add_vf_mac(const std::string& interface, unsigned vf, const std::string& mac);  // of a function that stays
  // A file of /sys or /proc/sys; of "a [b] c" the kernel shows the choices, and marks the one that was written last.
  void add_value(const std::string& path, const std::string& text);
  void drop_value(const std::string& path);
  std::optional<std::string> value(const std::string& path) const;
  void set_refused(std::string path, int error) { refused_[std::move(path)] = error; }  // at every write
  // A child outlives its vmrun, as a QEMU would whose parent-death signal came too late.
  void let_children_live() { children_die_ = false; }
  void set_cookieless(bool on) { cookieless_ = on; }            // as if QEMU's threads had lost their cookie
  void set_deaf(std::string path) { deaf_ = std::move(path); }  // a control that takes every value and keeps none
  void set_unpinnable(topology::CpuSet cpus) { unpinnable_ = std::move(cpus); }  // as if a cpuset forbade them

  // --- what goes wrong: the k-th verb from now on (0 is the next) ---
  void fail_at(std::size_t verb, When when = When::before) { fail_at_ = verb, fail_when_ = when; }
  void stop_dead_at(std::size_t verb, When when) { stop_at_ = verb, stop_when_ = when; }
  void heal();                            // nothing goes wrong any more; verbs are counted from 0 again
  void exit_on_stop() { exits_ = true; }  // in a forked launch: _exit(stopped) instead of throw StopDead
  static constexpr int stopped = 86;

  // --- what happened ---
  std::size_t verbs() const { return verbs_; }
  const std::vector<std::string>& log() const { return log_; }
  std::uint64_t total(unsigned node, topology::Bytes page) const;
  std::map<pid_t, topology::CpuSet> pins() const;                                  // of all threads of live children
  const std::map<pid_t, topology::CpuSet>& pinned_ever() const { return pins_; }   // what ended, too
  const launcher::ChildSpec& child(pid_t pid) const { return children_.at(pid); }  // as it was asked for
  const std::map<pid_t, unsigned>& fifos() const { return fifos_; }
  std::string control(const std::string& path) const { return value(path).value_or(""); }
  const std::map<std::string, unsigned>& owners() const { return owners_; }  // of files that were given away
  std::vector<launcher::ProcessId> live_processes() const;  // of all that were ever spawned, by forked launches too
  bool tap_exists(const std::string& name) const;
  std::string function_driver(const std::string& address) const;
  // Everything that can be compared: pools, taps, processes, and the files under `base` except its lock.
  std::string snapshot(const std::filesystem::path& base) const;

  // --- the verbs ---
  std::optional<std::string> read(const std::string& path) override;
  void write(const std::string& path, const std::string& text) override;
  bool exists(const std::string& path) override;
  std::optional<std::string> link_name(const std::string& path) override;
  std::vector<std::string> list(const std::string& directory) override;
  bool has_interface(const std::string& name) override;
  std::vector<launcher::Fd> make_tap(const std::string& name, std::size_t queues) override;
  std::vector<launcher::Fd> open_tap(const std::string& name, std::size_t queues, bool multi_queue) override;
  void set_mtu(const std::string& interface, unsigned mtu) override;
  void join_bridge(const std::string& interface, const std::string& bridge) override;
  void set_port_vlan(const std::string& port, const std::string& bridge, unsigned vlan) override;
  void set_up(const std::string& interface) override;
  void drop_tap(const std::string& name) override;
  std::vector<launcher::Fd> make_macvtap(const std::string& name, const std::string& over, const std::string& mode,
                                         const std::string& mac, std::size_t queues) override;
  void drop_macvtap(const std::string& name, const std::string& mac) override;
  void limit_rate(const std::string& interface, std::uint64_t out, std::uint64_t in) override;
  void load_module(const std::string& name) override;
  void set_vf_mac(const std::string& interface, unsigned vf, const std::string& mac) override;
  void set_vf_port(const std::string& interface, unsigned vf, const launcher::VfPort& port) override;
  launcher::Fd open_file(const std::string& path, bool writable, bool direct) override;
  launcher::Fd make_unnamed(const std::string& directory) override;
  void name_file(int fd, const std::string& path) override;
  void drop_name(const std::string& path) override;
  launcher::Fd readable_copy(launcher::Fd fd, std::optional<unsigned> uid) override;
  launcher::Fd append_to(const std::string& path) override;
  void keep_directory(const std::string& path, std::optional<unsigned> owner) override;
  void copy_once(const std::string& from, const std::string& to) override;
  void keep_text(const std::string& path, const std::string& text) override;
  launcher::Fd memory_file(const std::string& name, const std::string& bytes) override;
  launcher::HugeFile huge_file(const launcher::HugeFileSpec& spec) override;
  void keep_ssh_key(const std::string& program, const std::string& path, const std::string& comment) override;
  std::optional<launcher::FileIdentity> identity_of(const std::string& path) override;
  void give_file(const std::string& path, const launcher::FileIdentity& file, unsigned uid, unsigned gid) override;
  launcher::Fd listen(const std::string& path, std::optional<unsigned> owner) override;
  launcher::Fd hold_path(const std::string& path) override;
  launcher::Fd make_directory(const std::string& path, std::optional<unsigned> owner) override;
  launcher::ProcessId spawn(const launcher::ChildSpec& child, const launcher::FdLayout& fds,
                            const std::function<void(const launcher::ProcessId&)>& written_down) override;
  void end_process(const launcher::ProcessId& process) override;
  void make_group(const std::string& path, bool may_exist) override;
  void remove_group(const std::string& path, bool shared) override;
  void set_fifo(pid_t thread, unsigned priority) override;
  unsigned fifo(pid_t thread) override;
  std::uint64_t core_cookie(pid_t thread) override;
  int wait_for(const launcher::ProcessId& child, const std::function<void()>& meanwhile) override;
  void pin(pid_t thread, const topology::CpuSet& cpus) override;
  topology::CpuSet pinned(pid_t thread) override;

 private:
  struct Shared;
  struct Function;
  class Verb;
  Function& function(const std::string& address) const;
  std::vector<std::string> vfs(const std::string& physical) const;
  void write_pool(unsigned node, topology::Bytes page, std::uint64_t total);
  void write_function(const std::string& address, const std::string& file, const std::string& text);
  void write_value(const std::string& path, const std::string& text);
  void probe(const std::string& address);
  void have_vfs(const std::string& physical, unsigned count);
  Pool& pool(unsigned node, topology::Bytes page) const;
  std::filesystem::path at(const std::string& path) const;
  void need_interface(const std::string& name) const;
  topology::CpuSet allowed(pid_t thread) const;
  void enter_groups(const launcher::ChildSpec& child, const launcher::ProcessId& id) const;
  bool has_processes(const std::filesystem::path& group) const;
  void stop();

  launcher::LinuxFiles real_files_;
  launcher::LinuxProcesses real_processes_;
  std::filesystem::path dir_;
  Shared* shared_ = nullptr;
  std::set<std::string> persistent_taps_, files_;
  std::map<pid_t, launcher::ChildSpec> children_;
  std::map<pid_t, topology::CpuSet> pins_;
  std::map<pid_t, unsigned> fifos_;
  std::map<std::string, unsigned> owners_;
  std::map<std::string, int> refused_;
  topology::CpuSet unpinnable_;
  std::vector<std::string> log_;
  std::size_t verbs_ = 0;
  std::optional<std::size_t> fail_at_, stop_at_;
  When stop_when_ = When::before, fail_when_ = When::before;
  std::string deaf_;
  bool children_die_ = true, exits_ = false, cookieless_ = false;
};

}  // namespace fakes
