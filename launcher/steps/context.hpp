// What performing a step, and undoing one, is given; and what performing leaves in our hands.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "launcher/host/fd.hpp"
#include "launcher/host/host.hpp"
#include "launcher/host/log_pipe.hpp"
#include "launcher/host/process.hpp"
#include "launcher/steps/undo.hpp"

namespace launcher::inline steps {

// A file that has no name yet, and the path it shall have once the guest runs.
struct Unnamed {
  Fd fd;
  std::string path;
};

struct Helper {
  std::string role;
  ProcessId process;
  friend bool operator==(const Helper&, const Helper&) = default;
};
BOOST_DESCRIBE_STRUCT(Helper, (), (role, process))

// What performing steps leaves in our hands.
struct Opened {
  std::map<int, Fd> fds;  // child fd -> ours
  Fd monitor;             // our end of the private QMP socketpair
  std::optional<ProcessId> qemu;
  std::vector<Helper> helpers;
  std::vector<std::unique_ptr<Filling>> fillings;  // of QEMU's memory: until it is up
  std::vector<Unnamed> unnamed;
  Logs logs;                                  // to be read while somebody writes there
  std::map<std::string, FileIdentity> given;  // path -> the file whose owner changes
  std::set<std::string> device_nodes;         // files below /dev that QEMU opens by path
  std::vector<std::string> passed_over;       // what the kernel did not let us change, for the user
};

struct PerformContext {
  Host& host;
  Opened& opened;
  // Writes down an undo that was not known before (the pid of StartQemu), at the moment it becomes true.
  std::function<void(const Undo&)> journal;
  std::function<bool(const Undo&)> others_have = {};  // whether another VM's journal has the same; asked under the lock
  std::optional<unsigned> uid = {};  // QEMU's, where it is not ours: files it opens again must be readable for it
  std::function<void(const std::string&)> progress = {};  // of a long step, several times a second; may throw to end it
};

struct UndoContext {
  Host& host;
  std::vector<std::string> passed_over = {};  // what could not be put back, or not be known to be, for the user
  bool done = true;                           // its step was; else it may have been, wholly or in part
  std::optional<std::uint64_t> begun = {};    // what begin() wrote down, before a crash in this very undo
  std::function<void(std::uint64_t)> begin = [](std::uint64_t) {};                   // for what must not be done twice
  std::function<bool(const Undo&)> others_have = [](const Undo&) { return false; };  // as in PerformContext
};

}  // namespace launcher::steps
