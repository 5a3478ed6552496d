// One window over a running VM: looks once a second, traces who runs on its CPUs, and listens to QEMU meanwhile.
#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "launcher/steps/vm_dir.hpp"
#include "launcher/watch/judge.hpp"
#include "launcher/watch/window.hpp"
#include "qmp/client.hpp"

namespace launcher::inline watch {

struct Watched {
  Window window;
  std::vector<Offender> offenders;
  std::vector<Point> points;
  bool clean() const { return offenders.empty(); }
};

struct WatchFor {
  std::chrono::nanoseconds most{};           // the window's length
  std::function<void()> began;               // after the first look: nothing that happens from here on is missed
  std::function<bool()> ended;               // asked ten times a second: true ends it earlier
  std::function<void(const Watched&)> told;  // after each second; empty: not wanted
  // A line to QEMU, which takes one reader at a time: held at both ends of the window only. nullptr: it is not to be had.
  std::function<std::unique_ptr<::qmp::Client>()> monitor;
  std::function<Phase()> phase;  // as the VM's keeper has it on record, asked ten times a second
};

// This thread leaves the VM's CPUs first: who measures is not to be what is measured. Throws std::runtime_error where the VM ends meanwhile.
Watched watch_window(Subject& subject, const WatchFor& wanted, const Thresholds& thresholds);

}  // namespace launcher::watch
