// The verbs by which vmrun changes a machine. The rule: the one seam for fakes and the only virtual class; a verb does
// one thing, throws std::system_error (or runtime_error with what the kernel granted) and leaves nothing half done.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "launcher/host/fd.hpp"
#include "launcher/host/process.hpp"
#include "topology/bytes.hpp"
#include "topology/cpu_set.hpp"

namespace launcher::inline host {

struct VfPort;  // vf_mac.hpp

// Which file it is, whatever it is called.
struct FileIdentity {
  std::uint64_t device = 0, inode = 0;
  friend auto operator<=>(const FileIdentity&, const FileIdentity&) = default;
};

class Host {
 public:
  virtual ~Host() = default;

  // Huge-page pools: nr_hugepages of one node. set_pool returns what the kernel granted (read back).
  virtual std::uint64_t pool_total(unsigned node, topology::Bytes page) = 0;
  virtual std::uint64_t set_pool(unsigned node, topology::Bytes page, std::uint64_t total) = 0;
  virtual void compact_memory(unsigned node) = 0;

  virtual bool has_interface(const std::string& name) = 0;
  // Taps. Fds come back open and close-on-exec, one per queue. make_tap: it must not exist yet.
  virtual std::vector<Fd> make_tap(const std::string& name, std::size_t queues) = 0;
  virtual std::vector<Fd> open_tap(const std::string& name, std::size_t queues, bool multi_queue) = 0;
  virtual void set_mtu(const std::string& interface, unsigned mtu) = 0;
  virtual void join_bridge(const std::string& interface, const std::string& bridge) = 0;
  // The port's only VLAN, which the bridge takes off what goes to it and puts onto what comes from it.
  virtual void set_port_vlan(const std::string& port, const std::string& bridge, unsigned vlan) = 0;
  virtual void set_up(const std::string& interface) = 0;
  virtual void drop_tap(const std::string& name) = 0;  // gone already: fine

  // A macvtap on the interface `over`. Fds as above; it stays until it is dropped. Only one that has this MAC is ours.
  virtual std::vector<Fd> make_macvtap(const std::string& name, const std::string& over, const std::string& mode,
                                       const std::string& mac, std::size_t queues) = 0;
  virtual void drop_macvtap(const std::string& name, const std::string& mac) = 0;  // gone already: fine
  // What goes out through the interface, and what comes in, in bits a second; 0: as much as will.
  virtual void limit_rate(const std::string& interface, std::uint64_t out, std::uint64_t in) = 0;
  // PCI functions, by address ("0000:81:00.0"). A driver is "" where there is none.
  virtual void load_module(const std::string& name) = 0;
  virtual bool has_function(const std::string& address) = 0;
  virtual std::string driver_of(const std::string& address) = 0;
  virtual void set_driver_override(const std::string& address, const std::string& driver) = 0;
  virtual void unbind_driver(const std::string& address) = 0;  // none: fine
  virtual void probe_driver(const std::string& address) = 0;
  virtual std::vector<std::string> vfs_of(const std::string& physical) = 0;  // addresses, by number
  virtual void set_vfs(const std::string& physical, unsigned count) = 0;
  virtual void set_vf_mac(const std::string& interface, unsigned vf, const std::string& mac) = 0;
  virtual void set_vf_port(const std::string& interface, unsigned vf, const VfPort& port) = 0;
  virtual std::string vfio_node(const std::string& address, bool of_group) = 0;  // "/dev/vfio/12"
  virtual void probe_usb(const std::string& port) = 0;  // drivers for what has none; unplugged: fine

  virtual Fd open_file(const std::string& path, bool writable, bool direct) = 0;
  virtual Fd make_unnamed(const std::string& directory) = 0;    // a new file that goes with its last fd (O_TMPFILE)
  virtual void name_file(int fd, const std::string& path) = 0;  // gives such a file a name, which nothing may have
  virtual Fd readable_copy(Fd fd,
                           std::optional<unsigned> uid) = 0;  // fd itself if uid may open it again, else a sealed memfd
  virtual Fd listen(const std::string& path, std::optional<unsigned> owner) = 0;  // owner: nullopt: ours
  virtual Fd hold_path(const std::string& path) = 0;  // O_PATH: neither read nor written through it
  virtual Fd make_directory(const std::string& path, std::optional<unsigned> owner) = 0;  // and hold it
  virtual Fd append_to(const std::string& path) = 0;  // made where it is not there; no symlink
  virtual void keep_directory(const std::string& path,
                              std::optional<unsigned> owner) = 0;  // 0700, with what is in it; nullopt: ours, 0711
  virtual void copy_once(const std::string& from, const std::string& to) = 0;    // `to` is there: fine, as it is
  virtual void keep_text(const std::string& path, const std::string& text) = 0;  // replaces it; only its owner reads it
  virtual Fd memory_file(const std::string& name, const std::string& bytes) = 0;  // sealed, read-only, for any uid
  // A new pair of ed25519 keys, `path` and `path`.pub, by ssh-keygen(1); `path` is there: fine, as it is.
  virtual void keep_ssh_key(const std::string& program, const std::string& path, const std::string& comment) = 0;
  virtual std::optional<FileIdentity> identity_of(const std::string& path) = 0;  // a symlink is followed; gone: none
  // Its owner, if it is this very file; whoever gave it away holds it, under any name, until it is given back. Gone: fine.
  virtual void give_file(const std::string& path, const FileIdentity& file, unsigned uid, unsigned gid) = 0;

  virtual ProcessId spawn(const ChildSpec& child, const FdLayout& fds,
                          const std::function<void(const ProcessId&)>& written_down) = 0;
  virtual void end_process(const ProcessId& process) = 0;                                    // gone already: fine
  virtual int wait_for(const ProcessId& child, const std::function<void()>& meanwhile) = 0;  // exit code, as reap()

  // Groups of tasks (cgroup, resctrl). may_exist: it is shared. remove_group: gone already is fine; shared: so is "still in
  // use".
  virtual bool has_group(const std::string& path) = 0;
  virtual void make_group(const std::string& path, bool may_exist) = 0;
  virtual void remove_group(const std::string& path, bool shared) = 0;

  // Files of /sys and /proc/sys, and of groups. nullopt: gone, or not to be read. write_value throws with the kernel's own error.
  virtual std::optional<std::string> read_value(const std::string& path) = 0;
  virtual void write_value(const std::string& path, const std::string& text) = 0;

  virtual void set_fifo(pid_t thread, unsigned priority) = 0;
  virtual unsigned fifo(pid_t thread) = 0;              // 0: not SCHED_FIFO
  virtual std::uint64_t core_cookie(pid_t thread) = 0;  // 0: it may share a core with anything

  virtual void pin(pid_t thread, const topology::CpuSet& cpus) = 0;
  virtual topology::CpuSet pinned(pid_t thread) = 0;
};

// This machine.
class LinuxHost final : public Host {
 public:
  std::uint64_t pool_total(unsigned node, topology::Bytes page) override;
  std::uint64_t set_pool(unsigned node, topology::Bytes page, std::uint64_t total) override;
  void compact_memory(unsigned node) override;
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
  void load_module(const std::string& name) override;
  bool has_function(const std::string& address) override;
  std::string driver_of(const std::string& address) override;
  void set_driver_override(const std::string& address, const std::string& driver) override;
  void unbind_driver(const std::string& address) override;
  void probe_driver(const std::string& address) override;
  std::vector<std::string> vfs_of(const std::string& physical) override;
  void set_vfs(const std::string& physical, unsigned count) override;
  void set_vf_mac(const std::string& interface, unsigned vf, const std::string& mac) override;
  void set_vf_port(const std::string& interface, unsigned vf, const VfPort& port) override;
  std::string vfio_node(const std::string& address, bool of_group) override;
  void probe_usb(const std::string& port) override;
  Fd open_file(const std::string& path, bool writable, bool direct) override;
  Fd make_unnamed(const std::string& directory) override;
  void name_file(int fd, const std::string& path) override;
  Fd readable_copy(Fd fd, std::optional<unsigned> uid) override;
  Fd append_to(const std::string& path) override;
  void keep_directory(const std::string& path, std::optional<unsigned> owner) override;
  void copy_once(const std::string& from, const std::string& to) override;
  void keep_text(const std::string& path, const std::string& text) override;
  Fd memory_file(const std::string& name, const std::string& bytes) override;
  void keep_ssh_key(const std::string& program, const std::string& path, const std::string& comment) override;
  std::optional<FileIdentity> identity_of(const std::string& path) override;
  void give_file(const std::string& path, const FileIdentity& file, unsigned uid, unsigned gid) override;
  Fd listen(const std::string& path, std::optional<unsigned> owner) override;
  Fd hold_path(const std::string& path) override;
  Fd make_directory(const std::string& path, std::optional<unsigned> owner) override;
  ProcessId spawn(const ChildSpec& child, const FdLayout& fds,
                  const std::function<void(const ProcessId&)>& written_down) override;
  void end_process(const ProcessId& process) override;
  int wait_for(const ProcessId& child, const std::function<void()>& meanwhile) override;
  bool has_group(const std::string& path) override;
  void make_group(const std::string& path, bool may_exist) override;
  void remove_group(const std::string& path, bool shared) override;
  std::optional<std::string> read_value(const std::string& path) override;
  void write_value(const std::string& path, const std::string& text) override;
  void set_fifo(pid_t thread, unsigned priority) override;
  unsigned fifo(pid_t thread) override;
  std::uint64_t core_cookie(pid_t thread) override;
  void pin(pid_t thread, const topology::CpuSet& cpus) override;
  topology::CpuSet pinned(pid_t thread) override;

 private:
  std::map<FileIdentity, Fd> given_;  // files that are not their owner's for now
};

}  // namespace launcher::host
