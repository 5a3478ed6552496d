// Fork, fd layout, memory policy and affinity before exec, exec errors, pid and start time. The rule: pid before exec:
// the child waits until its pid is written down, so there is never a QEMU that nobody knows how to end.
#pragma once

#include <sys/types.h>

#include <boost/describe/class.hpp>
#include <cstdint>
#include <expected>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "topology/cpu_set.hpp"
#include "topology/placement.hpp"

namespace launcher::inline host {

// A process that can be told from a later one with the same pid. start is field 22 of /proc/PID/stat (clock ticks).
struct ProcessId {
  pid_t pid = 0;
  std::uint64_t start = 0;
  friend bool operator==(const ProcessId&, const ProcessId&) = default;
};
BOOST_DESCRIBE_STRUCT(ProcessId, (), (pid, start))

std::optional<ProcessId> process_id(pid_t pid);  // nullopt: no such process (or only a zombie)
bool is_alive(const ProcessId& process);         // a zombie is not alive

unsigned fifo_priority(pid_t thread);  // 0: not SCHED_FIFO, or gone

// Everything that is decided about the child before it exists. It runs in /, with an environment of its own.
struct ChildSpec {
  std::vector<std::string> argv;
  std::optional<unsigned> uid;  // nullopt: stay who we are (no root)
  topology::CpuSet affinity;    // emulator CPUs; empty: inherit
  topology::MemoryPolicy policy = topology::MemoryPolicy::strict;
  std::vector<unsigned> memory_nodes;      // empty: default policy
  std::optional<std::uint64_t> memlock;    // RLIMIT_MEMLOCK in bytes; nullopt: inherit
  std::optional<unsigned> group;           // one supplementary group (that of /dev/kvm); only with uid
  std::string cgroup;                      // a directory of cgroup version 2 it is born into; "": ours
  std::string cache_group;                 // a directory of resctrl that it joins before exec; "": ours
  bool own_core_cookie = false;            // core scheduling: only its own threads beside each other on a core
  std::string private_dev;                 // a directory to mount private device files from; "": not wanted
  std::vector<std::string> private_nodes;  // those device files: "/dev/kvm"
  bool no_set_id_files = false;            // a mode with a setuid or setgid bit is refused to it
  std::vector<std::string> environment;    // "NAME=VALUE", beside the few that every child has; nothing of ours
  bool dies_with_parent = true;
  friend bool operator==(const ChildSpec&, const ChildSpec&) = default;
};
BOOST_DESCRIBE_STRUCT(ChildSpec, (),
                      (argv, uid, affinity, policy, memory_nodes, memlock, group, cgroup, cache_group, own_core_cookie,
                       private_dev, private_nodes, no_set_id_files, environment, dies_with_parent))

// child fd -> our fd. 0, 1, 2 may be among them, and are inherited if not; whatever else is not listed is closed in the child.
using FdLayout = std::map<int, int>;

// Forks; the child sits before exec until `written_down(id)` has returned. Throws std::system_error with what the child
// could not do (its errno and stage: "exec", "setuid", "memory policy", ...), after reaping it.
ProcessId spawn(const ChildSpec& spec, const FdLayout& fds, const std::function<void(const ProcessId&)>& written_down);

// SIGKILL by pidfd if it is still the same process; waits (and reaps if it is our child). Gone already: fine. One that had ended
// by itself is left to be reaped.
void end_process(const ProcessId& process);

int open_pidfd(const ProcessId& process);  // -1: gone. Caller closes.

// Exit of a child: exit code, or 128 + signal.
int reap(pid_t pid);
// The same, and the child is still to be reaped.
int ended_with(pid_t pid);
// Of many threads, and later than that: the kernel tells of their end before the last of them has dropped what was looked up of it in
// /proc, and whoever reaps it meanwhile spins for milliseconds on what that one holds.
void reap_ended(pid_t pid);

// Of open files, this process's and its children's: to the hard limit, and that to `least`, where we have the right.
void raise_file_limit(std::uint64_t least);

}  // namespace launcher::host
