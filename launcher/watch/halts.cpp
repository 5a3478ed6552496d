#include "launcher/watch/halts.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>

#include <algorithm>

#include "launcher/proof/proofs.hpp"
#include "launcher/proof/subject.hpp"
#include "topology/control_groups.hpp"
#include "topology/page_location.hpp"
#include "topology/task_stat.hpp"

namespace launcher::inline watch {

namespace {

bool is_frozen_now(int state) {
  char text[256];
  const ssize_t size = pread(state, text, sizeof text, 0);
  return topology::is_frozen({text, size < 0 ? 0 : static_cast<std::size_t>(size)});
}

}  // namespace

Halts::Halts(const Subject& subject, const std::vector<ThreadCounts>& threads) : subject_(subject) {
  for (const ThreadCounts& thread : threads)
    if (const auto policy = scheduling_of(thread.tid))
      due_.push_back({fmt::format("{} ({})", thread.role, thread.tid), thread.tid, thread.cpus, *policy});
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

void Halts::look_at_threads(const Told& told) const {
  for (const Due& due : due_) {
    const auto cpus = topology::get_affinity(due.tid);
    if (cpus && *cpus != due.cpus)
      told.moved(fmt::format("{} was on {}, not on {}", due.thread, cpus->to_string(), due.cpus.to_string()));
    const auto policy = scheduling_of(due.tid);
    if (policy && *policy != due.policy)
      told.policy(fmt::format("{} was scheduled as {}, not as {}", due.thread, *policy, due.policy));
  }
}

void Halts::wait(std::chrono::milliseconds most, const Told& told) const {
  std::vector<pollfd> notices;
  for (const Freezer& freezer : freezers_)
    if (freezer.v2) notices.push_back({freezer.state.get(), POLLPRI, 0});
  (void)poll(notices.data(), notices.size(), static_cast<int>(most.count()));
  for (const Freezer& freezer : freezers_)
    if (is_frozen_now(freezer.state.get()))
      told.stopped("the VM was frozen: " + topology::frozen_by(subject_.root, freezer.directory));
  const auto task = topology::parse_stat(subject_.root.read(fmt::format("/proc/{}/stat", subject_.qemu)).value_or(""));
  if (task && (task->state == 'T' || task->state == 't'))
    told.stopped(fmt::format("QEMU ({}) was {}", subject_.qemu, task->state == 'T' ? "stopped" : "held by a debugger"));
  look_at_threads(told);
}

}  // namespace launcher::watch
