#include "launcher/commands/watching.hpp"

#include <future>

#include "launcher/commands/reach.hpp"
#include "launcher/proof/subject.hpp"
#include "topology/page_location.hpp"

namespace launcher::commands {

namespace {

constexpr std::chrono::hours as_long_as_it_takes{24 * 365};

Watched window_over(const VmDir& dir, const Thresholds& thresholds, const std::atomic<bool>& over,
                    const std::function<void()>& began) {
  WatchFor wanted;
  wanted.most = as_long_as_it_takes;
  wanted.began = began;
  wanted.ended = [&over] { return over.load(); };
  wanted.phase = [&dir] { return dir.read_state().phase; };
  wanted.monitor = [&dir] { return monitor_if_free(dir); };
  Subject subject = look_at(dir, nullptr);
  return watch_window(subject, wanted, thresholds);
}

}  // namespace

Thresholds thresholds_of(const Options& options) {
  Thresholds thresholds;
  try {
    for (const std::string& words : options.all("threshold")) thresholds.set(words);
  } catch (const std::invalid_argument& error) {
    throw UsageError(error.what());
  }
  return thresholds;
}

Watching::Watching(const VmDir& dir, const Thresholds& thresholds) {
  std::promise<std::optional<topology::CpuSet>> began;  // where the thread that looks may be, off the VM's CPUs
  auto first_look = began.get_future();
  thread_ = std::thread([this, dir, thresholds, began = std::move(began)]() mutable {
    bool told = false;
    try {
      found_ = window_over(dir, thresholds, over_, [&] {
        const auto mine = topology::get_affinity(0);
        told = true;
        began.set_value(mine ? std::optional(*mine) : std::nullopt);
      });
    } catch (const std::exception& error) {
      found_ = std::unexpected(std::string(error.what()));
      if (!told) began.set_value(std::nullopt);
    }
  });
  const auto aside = first_look.get();
  if (!aside) return;
  const auto mine = topology::get_affinity(0);
  if (mine && !topology::set_affinity(0, *aside)) before_ = *mine;
}

Watching::~Watching() { (void)end(); }

std::expected<Watched, std::string> Watching::end() {
  over_ = true;
  if (thread_.joinable()) thread_.join();
  if (before_) (void)topology::set_affinity(0, *before_);
  before_.reset();
  return found_;
}

}  // namespace launcher::commands
