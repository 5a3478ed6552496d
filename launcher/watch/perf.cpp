#include "launcher/watch/perf.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace launcher::inline watch {

std::optional<Tracepoint> tracepoint(const topology::Sysfs& root, std::string_view name) {
  for (const char* where : {"/sys/kernel/tracing", "/sys/kernel/debug/tracing"}) {
    // the second place is the same one, and a look there mounts it
    if (!root.exists(fmt::format("{}/events", where))) continue;
    const std::string dir = fmt::format("{}/events/{}", where, name);
    if (const auto id = root.read_number(dir + "/id")) return Tracepoint{*id, root.read(dir + "/format").value_or("")};
    return std::nullopt;
  }
  return std::nullopt;
}

perf_event_attr event_of(std::uint32_t type, std::uint64_t config) {
  perf_event_attr event{};
  event.type = type;
  event.size = sizeof event;
  event.config = config;
  return event;
}

Fd open_event(perf_event_attr event, unsigned cpu, const Fd& leader) {
  return Fd(static_cast<int>(
      syscall(SYS_perf_event_open, &event, -1, static_cast<int>(cpu), leader.get(), PERF_FLAG_FD_CLOEXEC)));
}

EventCount::EventCount(const topology::Sysfs& root, std::string_view name, const std::string& filter,
                       const topology::CpuSet& cpus) {
  const auto point = tracepoint(root, name);
  if (!point) {
    error_ = fmt::format("the tracepoint {} cannot be read (tracefs is not mounted, or this is not root)", name);
    return;
  }
  for (const unsigned cpu : cpus.to_vector()) {
    Fd event = open_event(event_of(PERF_TYPE_TRACEPOINT, point->id), cpu);
    if (!event || ioctl(event.get(), PERF_EVENT_IOC_SET_FILTER, filter.c_str()) != 0) {
      error_ = fmt::format("{} cannot be counted on CPU {}: {}", name, cpu, std::strerror(errno));
      events_.clear();
      return;
    }
    events_.push_back(std::move(event));
  }
}

std::uint64_t EventCount::count() const {
  std::uint64_t sum = 0;
  for (const Fd& event : events_)
    if (std::uint64_t one = 0; ::read(event.get(), &one, sizeof one) == sizeof one) sum += one;
  return sum;
}

}  // namespace launcher::watch
