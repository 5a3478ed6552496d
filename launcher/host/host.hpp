// The seam: four small interfaces by which vmrun changes a machine (and by which alone fakes stand in for one). The rule: a verb does
// one thing, throws std::system_error (or runtime_error with what the kernel granted) and leaves nothing half done. This machine is in
// linux_host.hpp; what is said in kernel files alone (pools, PCI functions) is a function over KernelFiles: pools.hpp, pci_functions.hpp.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "launcher/host/fd.hpp"
#include "launcher/host/huge_file.hpp"
#include "launcher/host/process.hpp"
#include "topology/cpu_set.hpp"

namespace launcher::inline host {

struct VfPort;  // vf_mac.hpp

// Which file it is, whatever it is called.
struct FileIdentity {
  std::uint64_t device = 0, inode = 0;
  friend auto operator<=>(const FileIdentity&, const FileIdentity&) = default;
};

// Files of /sys, /proc/sys and /proc/irq, and groups of tasks, which are directories there (cgroup, resctrl). Paths are absolute.
class KernelFiles {
 public:
  virtual ~KernelFiles() = default;
  virtual std::optional<std::string> read(const std::string& path) = 0;      // nullopt: gone, or not to be read
  virtual void write(const std::string& path, const std::string& text) = 0;  // throws with the kernel's own error
  virtual bool exists(const std::string& path) = 0;
  virtual std::optional<std::string> link_name(const std::string& path) = 0;  // last part of what a symlink points to
  virtual std::vector<std::string> list(const std::string& directory) = 0;    // names; "eth2" before "eth10"
  virtual void make_group(const std::string& path, bool may_exist) = 0;       // may_exist: it is shared
  virtual void remove_group(const std::string& path,
                            bool shared) = 0;  // gone already is fine; shared: so is "still in use"
};

// Network interfaces, by name. Fds come back open and close-on-exec, one per queue.
class NetLinks {
 public:
  virtual ~NetLinks() = default;
  virtual bool has_interface(const std::string& name) = 0;
  virtual std::vector<Fd> make_tap(const std::string& name, std::size_t queues) = 0;  // it must not exist yet
  virtual std::vector<Fd> open_tap(const std::string& name, std::size_t queues, bool multi_queue) = 0;
  virtual void set_mtu(const std::string& interface, unsigned mtu) = 0;
  virtual void join_bridge(const std::string& interface, const std::string& bridge) = 0;
  // The port's only VLAN, which the bridge takes off what goes to it and puts onto what comes from it.
  virtual void set_port_vlan(const std::string& port, const std::string& bridge, unsigned vlan) = 0;
  virtual void set_up(const std::string& interface) = 0;
  virtual void drop_tap(const std::string& name) = 0;  // gone already: fine
  // A macvtap on the interface `over`; it stays until it is dropped. Only one that has this MAC is ours.
  virtual std::vector<Fd> make_macvtap(const std::string& name, const std::string& over, const std::string& mode,
                                       const std::string& mac, std::size_t queues) = 0;
  virtual void drop_macvtap(const std::string& name, const std::string& mac) = 0;  // gone already: fine
  // What goes out through the interface, and what comes in, in bits a second; 0: as much as will.
  virtual void limit_rate(const std::string& interface, std::uint64_t out, std::uint64_t in) = 0;
  virtual void set_vf_mac(const std::string& interface, unsigned vf, const std::string& mac) = 0;
  virtual void set_vf_port(const std::string& interface, unsigned vf, const VfPort& port) = 0;
};

// Files of the disk and of memory, directories and sockets: opened once, and then held as fds.
class Files {
 public:
  virtual ~Files() = default;
  virtual Fd open_file(const std::string& path, bool writable, bool direct) = 0;
  virtual Fd make_unnamed(const std::string& directory) = 0;    // a new file that goes with its last fd (O_TMPFILE)
  virtual void name_file(int fd, const std::string& path) = 0;  // gives such a file a name, which nothing may have
  virtual void drop_name(const std::string& path) = 0;          // of a file that name_file() named; gone already: fine
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
  virtual HugeFile huge_file(const HugeFileSpec& spec) = 0;                       // claimed, not yet filled
  // A new pair of ed25519 keys, `path` and `path`.pub, by ssh-keygen(1); `path` is there: fine, as it is.
  virtual void keep_ssh_key(const std::string& program, const std::string& path, const std::string& comment) = 0;
  virtual std::optional<FileIdentity> identity_of(const std::string& path) = 0;  // a symlink is followed; gone: none
  // Its owner, if it is this very file; whoever gave it away holds it, under any name, until it is given back. Gone: fine.
  virtual void give_file(const std::string& path, const FileIdentity& file, unsigned uid, unsigned gid) = 0;
};

// Processes and their threads.
class Processes {
 public:
  virtual ~Processes() = default;
  virtual ProcessId spawn(const ChildSpec& child, const FdLayout& fds,
                          const std::function<void(const ProcessId&)>& written_down) = 0;
  virtual void end_process(const ProcessId& process) = 0;                                    // gone already: fine
  virtual int wait_for(const ProcessId& child, const std::function<void()>& meanwhile) = 0;  // exit code, as reap()
  virtual void load_module(const std::string& name) = 0;                                     // by modprobe(8)
  virtual void set_fifo(pid_t thread, unsigned priority) = 0;
  virtual unsigned fifo(pid_t thread) = 0;              // 0: not SCHED_FIFO
  virtual std::uint64_t core_cookie(pid_t thread) = 0;  // 0: it may share a core with anything
  virtual void pin(pid_t thread, const topology::CpuSet& cpus) = 0;
  virtual topology::CpuSet pinned(pid_t thread) = 0;
};

// A machine: whoever needs all four of it.
struct Host {
  KernelFiles& kernel;
  NetLinks& links;
  Files& files;
  Processes& processes;
};

}  // namespace launcher::host
