// Other VMs' threads, after a partition has come or gone.
#include <algorithm>
#include <system_error>

#include "launcher/life/pin.hpp"
#include "launcher/steps/vm_dir.hpp"
#include "topology/page_location.hpp"

namespace launcher::inline life {

void pin_others_again(const std::filesystem::path& base, const std::string& own, Host& host) {
  for (const VmDir& dir : VmDir::all(base)) {
    if (dir.name() == own) continue;
    const State state = dir.read_state();
    if (!state.qemu || !is_alive(*state.qemu)) continue;
    for (const Thread& thread : threads_of(*state.qemu, state.threads, true)) {
      const auto record = std::ranges::find(state.threads, thread.tid, &ThreadRecord::tid);
      if (record == state.threads.end() || record->cpus.empty()) continue;
      const auto now = topology::get_affinity(thread.tid);
      if (!now || *now == record->cpus) continue;
      try {
        host.processes.pin(thread.tid, record->cpus);
      } catch (const std::system_error&) {
        // it ended meanwhile, or its CPUs went
      }
    }
  }
}

}  // namespace launcher::life
