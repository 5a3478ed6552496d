#include "launcher/life/await_lock.hpp"

#include <chrono>

namespace launcher::inline life {

Lock await_lock(const std::filesystem::path& base, const std::function<void(const std::string&)>& say,
                const std::function<void()>& idle) {
  using Clock = std::chrono::steady_clock;
  constexpr std::chrono::milliseconds moment{500};  // most hold it for a few milliseconds
  const Clock::time_point begun = Clock::now();
  bool told = false;
  return Lock(base, [&] {
    if (idle) idle();
    if (told || Clock::now() - begun < moment) return;
    told = true;
    if (say) say("waiting for another vmrun, which holds " + (base / ".lock").string());
  });
}

}  // namespace launcher::life
