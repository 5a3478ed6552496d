// This machine, as the seam's four interfaces (host.hpp).
#pragma once

#include <map>

#include "launcher/host/host.hpp"
#include "topology/sysfs.hpp"

namespace launcher::inline host {

// Kernel files below a root: "/", or what a test keeps in its place.
class LinuxKernelFiles final : public KernelFiles {
 public:
  explicit LinuxKernelFiles(topology::Sysfs sysfs = topology::Sysfs()) : sysfs_(std::move(sysfs)) {}
  std::optional<std::string> read(const std::string& path) override;
  void write(const std::string& path, const std::string& text) override;
  bool exists(const std::string& path) override;
  std::optional<std::string> link_name(const std::string& path) override;
  std::vector<std::string> list(const std::string& directory) override;
  void make_group(const std::string& path, bool may_exist) override;
  void remove_group(const std::string& path, bool shared) override;

 private:
  topology::Sysfs sysfs_;
};

class LinuxNetLinks final : public NetLinks {
 public:
  bool has_interface(const std::string& name) override;
  std::vector<Fd> make_tap(const std::string& name, std::size_t queues) override;
  std::vector<Fd> open_tap(const std::string& name, std::size_t queues, bool multi_queue) override;
  void set_mtu(const std::string& interface, unsigned mtu) override;
  void join_bridge(const std::string& interface, const std::string& bridge) override;
  void set_port_vlan(const std::string& port, const std::string& bridge, unsigned vlan) override;
  void set_up(const std::string& interface) override;
  void drop_tap(const std::string& name) override;
  std::vector<Fd> make_macvtap(const std::string& name, const std::string& over, const std::string& mode,
                               const std::string& mac, std::size_t queues) override;
  void drop_macvtap(const std::string& name, const std::string& mac) override;
  void limit_rate(const std::string& interface, std::uint64_t out, std::uint64_t in) override;
  void set_vf_mac(const std::string& interface, unsigned vf, const std::string& mac) override;
  void set_vf_port(const std::string& interface, unsigned vf, const VfPort& port) override;
};

class LinuxFiles final : public Files {
 public:
  Fd open_file(const std::string& path, bool writable, bool direct) override;
  Fd make_unnamed(const std::string& directory) override;
  void name_file(int fd, const std::string& path) override;
  void drop_name(const std::string& path) override;
  Fd readable_copy(Fd fd, std::optional<unsigned> uid) override;
  Fd listen(const std::string& path, std::optional<unsigned> owner) override;
  Fd hold_path(const std::string& path) override;
  Fd make_directory(const std::string& path, std::optional<unsigned> owner) override;
  Fd append_to(const std::string& path) override;
  void keep_directory(const std::string& path, std::optional<unsigned> owner) override;
  void copy_once(const std::string& from, const std::string& to) override;
  void keep_text(const std::string& path, const std::string& text) override;
  Fd memory_file(const std::string& name, const std::string& bytes) override;
  HugeFile huge_file(const HugeFileSpec& spec) override;
  void keep_ssh_key(const std::string& program, const std::string& path, const std::string& comment) override;
  std::optional<FileIdentity> identity_of(const std::string& path) override;
  void give_file(const std::string& path, const FileIdentity& file, unsigned uid, unsigned gid) override;

 private:
  std::map<FileIdentity, Fd> given_;  // files that are not their owner's for now
};

class LinuxProcesses final : public Processes {
 public:
  ProcessId spawn(const ChildSpec& child, const FdLayout& fds,
                  const std::function<void(const ProcessId&)>& written_down) override;
  void end_process(const ProcessId& process) override;
  int wait_for(const ProcessId& child, const std::function<void()>& meanwhile) override;
  void load_module(const std::string& name) override;
  void set_fifo(pid_t thread, unsigned priority) override;
  unsigned fifo(pid_t thread) override;
  std::uint64_t core_cookie(pid_t thread) override;
  void pin(pid_t thread, const topology::CpuSet& cpus) override;
  topology::CpuSet pinned(pid_t thread) override;
};

namespace detail {
struct LinuxParts {
  LinuxKernelFiles kernel_files;
  LinuxNetLinks net_links;
  LinuxFiles disk_files;
  LinuxProcesses live_processes;
};
}  // namespace detail

class LinuxHost : private detail::LinuxParts, public Host {
 public:
  LinuxHost() : Host{kernel_files, net_links, disk_files, live_processes} {}
  LinuxHost(const LinuxHost&) = delete;
  LinuxHost& operator=(const LinuxHost&) = delete;
};

}  // namespace launcher::host
