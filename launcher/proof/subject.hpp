// A running VM that is to be proved: what its plan promised, and where to look. The rule: nothing here changes anything.
#pragma once

#include <sys/types.h>

#include <boost/json/value.hpp>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "launcher/devices/guest_settings.hpp"
#include "launcher/devices/kind.hpp"
#include "launcher/devices/qemu_args.hpp"
#include "launcher/life/pin.hpp"
#include "launcher/plan/plan.hpp"
#include "launcher/steps/vm_dir.hpp"
#include "qmp/client.hpp"
#include "topology/page_location.hpp"
#include "topology/placement.hpp"
#include "topology/sysfs.hpp"

namespace launcher::inline proof {

constexpr std::uint64_t small_page = 4096;  // bytes; any other is a huge one

// The parts of a plan on record that can be looked for.
struct Promised {
  std::string accel;
  std::string qemu_version;
  std::optional<unsigned> uid;
  topology::Placement placement;
  bool pinned = false;
  std::vector<CpuFeature> features;
  bool core_cookie = false;
  std::string partition;  // "": none
  std::string run_dir;
  std::optional<unsigned> vhost_workers;
  std::vector<topology::PageClaim> spare;
  std::vector<PassedFunction> functions;
  std::optional<std::vector<GuestSetting>> guest;  // nullopt: a plan from before there were any
  std::vector<Arg> args;
};

struct Subject {
  Promised plan;
  std::vector<Step> steps;
  boost::json::value record;  // the whole plan, for paths that stand somewhere in it
  State state;
  pid_t qemu = 0;
  std::vector<Thread> threads;               // QEMU's, its kernel threads', its helpers' with their children
  std::map<std::string, std::string> files;  // what QEMU has open, by the fd's number; empty: that cannot be read
  std::vector<topology::MappedRange> maps;
  std::string no_maps;                  // why there are none
  std::string maps_file = "numa_maps";  // of /proc/PID: what they were read from
  topology::Sysfs root;
  std::optional<std::string> guest_rows;        // what guest_script() said there
  std::string no_guest_rows = "was not asked";  // why there are none
  ::qmp::Client* monitor = nullptr;             // nullptr: QEMU's socket is held by somebody else
};

// thoroughly: the kernel's threads that work for the VM are searched for in all of /proc; else those on record are taken, which is what
// a look at hundreds of VMs can pay for.
enum class Looking { thoroughly, at_what_is_known };
// Throws std::runtime_error where the VM does not run, or its record is not to be read.
Subject look_at(const VmDir& dir, ::qmp::Client* monitor, Looking how = Looking::thoroughly);
// Its halves: what is on record, and what the kernel says of it now.
Subject look_at_record(const VmDir& dir);
void look_at_kernel(Subject& subject, Looking how);

// A line "KEY:\tVALUE" of /proc/PID/status, or of another file of that form.
std::optional<std::string> field(const Subject& subject, const std::string& path, std::string_view key);
std::optional<std::string> field_in(const std::string& text, std::string_view key);

// What an fd of QEMU's is open on; "": it is not, or that cannot be read.
std::string target_of(const Subject& subject, const std::string& fd);
// By the number of the fd; empty: that cannot be read.
std::map<std::string, std::string> open_files(const Subject& subject);

// A task that the kernel lets nobody move (PF_NO_SETAFFINITY, include/linux/sched.h), or that has ended.
bool is_bound(const Subject& subject, pid_t task);

using Keys = std::map<std::string, std::string>;
// An argument's value, "driver,id=x,packed=on" or JSON, as keys and values; what stands first without a key is "".
Keys keys_of(const std::string& value);
std::string key(const Keys& keys, const std::string& name);  // "": not among them
// All arguments of an option, in that form: "-device", "-netdev".
std::vector<Keys> arguments(const Subject& subject, std::string_view option);
// Whether one of them has this key so: "-overcommit", "mem-lock", "on".
bool is_given(const Subject& subject, std::string_view option, const std::string& name, std::string_view value);

// QMP's reply, or why there is none.
struct Answer {
  std::optional<boost::json::value> value;
  std::string why;
};
Answer ask(const Subject& subject, const ::qmp::Command& command);

}  // namespace launcher::proof
