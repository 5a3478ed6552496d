// One change to the machine, as data. The rule: before a step is done its undo is in the journal, and an undo is a step;
// no inverse restores an absolute value of something other VMs share. Adding a kind: one variant line, and the compiler
// asks for describe, inverse_of, perform and JSON.
#pragma once

#include <boost/json/value.hpp>
#include <cstdint>
#include <expected>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "launcher/host/process.hpp"
#include "launcher/steps/isolate.hpp"
#include "launcher/steps/net.hpp"
#include "launcher/steps/pci.hpp"
#include "launcher/steps/processes.hpp"
#include "launcher/steps/setting.hpp"
#include "topology/bytes.hpp"

namespace launcher::inline host {
class Host;
}  // namespace launcher::inline host

namespace launcher::inline steps {

// Grow a node's huge-page pool by `pages` (the deficit). floor: the pool's size without any VM's raise.
struct RaisePool {
  unsigned node = 0;
  topology::Bytes page;
  std::uint64_t pages = 0;
  std::uint64_t floor = 0;
  friend bool operator==(const RaisePool&, const RaisePool&) = default;
};
// Shrink it again: by at most `pages`, and never below floor + what other live VMs raised.
struct TrimPool {
  unsigned node = 0;
  topology::Bytes page;
  std::uint64_t pages = 0;
  std::uint64_t floor = 0;
  friend bool operator==(const TrimPool&, const TrimPool&) = default;
};
struct OpenFile {  // images (fdset), kernel, initrd, firmware, /dev/kvm
  std::string path;
  bool writable = false;
  bool reopened = false;  // QEMU opens /proc/self/fd/N again: the inode must be readable for its uid,
                          // else a sealed copy in memory is handed over
  int fd = -1;
  bool direct = false;  // O_DIRECT: from 9.1 QEMU takes an fd of a set only if that flag is as it wants it
  friend bool operator==(const OpenFile&, const OpenFile&) = default;
};
struct Listen {  // a unix socket bound and listening before QEMU exists; it lies in the VM's
                 // directory and goes with it
  std::string path;
  int fd = -1;
  bool for_qemu = false;  // QEMU's user connects to it; else its owner is ours
  friend bool operator==(const Listen&, const Listen&) = default;
};
struct HoldPath {  // a file or socket of others, found but not opened: QEMU reaches it as /proc/self/fd/N
  std::string path;
  int fd = -1;
  friend bool operator==(const HoldPath&, const HoldPath&) = default;
};
struct MakeDirectory {  // of QEMU's user, in the VM's own, with which it goes; QEMU reaches it in the same way
  std::string path;
  int fd = -1;
  friend bool operator==(const MakeDirectory&, const MakeDirectory&) = default;
};
struct OpenLog {  // for appending; made where it is not there yet, and kept
  std::string path;
  int fd = -1;
  friend bool operator==(const OpenLog&, const OpenLog&) = default;
};
struct
    KeepDirectory {  // with what leads there; one that is there already is taken. Kept: state outlives a run, and what
                     // lies in the VM's directory goes with it
  std::string path;
  bool for_qemu = false;  // QEMU's user owns it and what is in it; else we do
  friend bool operator==(const KeepDirectory&, const KeepDirectory&) = default;
};
struct CopyOnce {  // a VM's own copy of a template, at its first start; kept afterwards
  std::string from, to;
  friend bool operator==(const CopyOnce&, const CopyOnce&) = default;
};
// A file that QEMU must open by itself (it takes no fd for it) is its user's while the VM lives.
struct GiveFile {
  std::string path;
  unsigned uid = 0, gid = 0;                // now
  unsigned before_uid = 0, before_gid = 0;  // to be its owner again
  friend bool operator==(const GiveFile&, const GiveFile&) = default;
};
struct TakeFileBack {
  std::string path;
  unsigned uid = 0, gid = 0;
  friend bool operator==(const TakeFileBack&, const TakeFileBack&) = default;
};
// A directory of a kernel's file system that is a group of tasks: cgroup or resctrl. shared: it may be there already, and
// stays while it holds another VM's.
struct MakeGroup {
  std::string path;
  bool shared = false;
  friend bool operator==(const MakeGroup&, const MakeGroup&) = default;
};
struct RemoveGroup {
  std::string path;
  bool shared = false;
  friend bool operator==(const RemoveGroup&, const RemoveGroup&) = default;
};
// A file of such a group. It is read back: `expect` must then be among its words. It goes with the group; what turns a
// controller on for all groups below a shared one stays on.
struct WriteControl {
  std::string path;
  std::string text;
  std::string expect;
  friend bool operator==(const WriteControl&, const WriteControl&) = default;
};
using Step =
    std::variant<RaisePool, TrimPool, MakeTap, OpenTap, DropTap, MakeMacvtap, DropMacvtap, LimitRate, OpenVhost,
                 OpenFile, MakeImage, OpenLog, Listen, HoldPath, MakeDirectory, Pair, KeepDirectory, CopyOnce, GiveFile,
                 TakeFileBack, StartHelper, StartQemu, EndProcess, MakeGroup, RemoveGroup, WriteControl, LoadModule,
                 CreateVfs, RemoveVfs, SetVfMac, BindVfio, GiveBack, OpenVfio, TakeUsb, GiveBackUsb, SetValue, PutBack,
                 KeepBeside, ChangeMask, MakePartition, EndPartition, TakeCpus, ReturnCpus>;

// A step of a plan, with the reason `vmrun plan --explain` gives.
struct PlannedStep {
  Step step;
  std::string why;
  std::string origin;  // as in Arg
  friend bool operator==(const PlannedStep&, const PlannedStep&) = default;
};

std::string describe(const Step& step);          // for a person: "raise node 0's 2M pool by 256 pages"
std::vector<Step> inverse_of(const Step& step);  // empty: nothing stays behind (fds close by themselves)

boost::json::value to_json(const Step& step);
std::expected<Step, std::string> step_from_json(const boost::json::value& json);

// A file that has no name yet, and the path it shall have once the guest runs.
struct Unnamed {
  int fd = -1;
  std::string path;
};

struct Helper {
  std::string role;
  ProcessId process;
  friend bool operator==(const Helper&, const Helper&) = default;
};

// What performing steps leaves in our hands; closes what nobody took.
struct Opened {
  Opened() = default;
  Opened(const Opened&) = delete;
  Opened& operator=(const Opened&) = delete;
  ~Opened();
  FdLayout fds;      // child fd -> ours
  int monitor = -1;  // our end of the private QMP socketpair; whoever takes it sets it to -1
  std::optional<ProcessId> qemu;
  std::vector<Helper> helpers;
  std::vector<Unnamed> unnamed;
  std::set<std::string> device_nodes;    // files below /dev that QEMU opens by path
  std::vector<std::string> passed_over;  // what the kernel did not let us change, for the user
};

// How much other live VMs raised a pool; asked only under the lock.
using OtherRaises = std::function<std::uint64_t(unsigned node, topology::Bytes page)>;

// Does it. Throws std::exception derivates with what the machine said. `journal` is called with further undo steps that
// were not known before (the pid of StartQemu) at the moment they become true.
struct PerformContext {
  Host& host;
  Opened& opened;
  const OtherRaises& other_raises;
  const std::function<void(const Step& undo)>& journal;
  std::optional<unsigned> uid;  // QEMU's, where it is not ours: files it opens again must be readable for it
  std::function<void(const std::string&)> progress = {};  // of a long step, several times a second; may throw to end it
  std::function<bool(const std::string& physical)> others_use_vfs = {};  // asked only under the lock
};
void perform(const Step& step, PerformContext& context);

}  // namespace launcher::inline steps
