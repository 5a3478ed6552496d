#include "launcher/watch/halts.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>

#include <algorithm>

#include "launcher/proof/subject.hpp"
#include "topology/control_groups.hpp"
#include "topology/task_stat.hpp"

namespace launcher::inline watch {

namespace {

bool is_frozen_now(int state) {
  char text[256];
  const ssize_t size = pread(state, text, sizeof text, 0);
  return topology::is_frozen({text, size < 0 ? 0 : static_cast<std::size_t>(size)});
}

// Whose will it is: a group is frozen with all that is above it.
std::string frozen_by(const topology::Sysfs& root, const std::string& directory) {
  for (std::string group = directory; group.size() > 1; group.erase(group.rfind('/')))
    if (root.read_number(group + "/cgroup.freeze") == 1u || root.read_number(group + "/freezer.self_freezing") == 1u)
      return group;
  return directory;
}

}  // namespace

Halts::Halts(const Subject& subject) : subject_(subject) {
  for (const Thread& thread : subject.threads) {
    const std::string membership = subject.root.read(fmt::format("/proc/{}/cgroup", thread.tid)).value_or("");
    for (const char* controller : {"", "freezer"}) {
      const auto group = topology::group_in(membership, subject.root, controller);
      if (!group || group->path.empty()) continue;
      const std::string directory = group->directory();
      if (std::ranges::find(freezers_, directory, &Freezer::directory) != freezers_.end()) continue;
      Fd state(open(subject.root.at(topology::freezer_file(*group)).c_str(), O_RDONLY | O_CLOEXEC));
      if (state) freezers_.push_back({directory, group->v2, std::move(state)});
    }
  }
}

void Halts::wait(std::chrono::milliseconds most, const std::function<void(const std::string&)>& told) {
  std::vector<pollfd> notices;
  for (const Freezer& freezer : freezers_)
    if (freezer.v2) notices.push_back({freezer.state.get(), POLLPRI, 0});
  (void)poll(notices.data(), notices.size(), static_cast<int>(most.count()));
  for (const Freezer& freezer : freezers_)
    if (is_frozen_now(freezer.state.get())) told("the VM was frozen: " + frozen_by(subject_.root, freezer.directory));
  const auto task = topology::parse_stat(subject_.root.read(fmt::format("/proc/{}/stat", subject_.qemu)).value_or(""));
  if (task && (task->state == 'T' || task->state == 't'))
    told(fmt::format("QEMU ({}) was {}", subject_.qemu, task->state == 'T' ? "stopped" : "held by a debugger"));
}

}  // namespace launcher::watch
