#include "launcher/watch/events.hpp"

#include <fmt/format.h>

#include <charconv>
#include <csignal>

#include "launcher/host/process.hpp"
#include "launcher/proof/subject.hpp"
#include "launcher/watch/parse.hpp"
#include "launcher/watch/sample.hpp"
#include "launcher/watch/window.hpp"

namespace launcher::inline watch {

namespace {

constexpr std::uint64_t huge_page = 2 << 20;

std::string either(const std::string& one, const std::string& other) {
  return one.empty() ? other : other.empty() ? one : one + "||" + other;
}

// "7fb5afe00000-7fb5bfe00000 rw-s ...": where the mapping that starts there ends; 0: there is none.
std::uint64_t end_of_mapping(std::string_view maps, std::uint64_t start) {
  const std::string head = fmt::format("{:x}-", start);
  for (std::size_t at = 0; at < maps.size(); at = maps.find('\n', at), at += at == maps.npos ? 0 : 1) {
    if (!maps.substr(at).starts_with(head)) continue;
    std::uint64_t end = 0;
    const char* from = maps.data() + at + head.size();
    std::from_chars(from, maps.data() + maps.size(), end, 16);
    return end;
  }
  return 0;
}

std::string filter_on_threads(const Sample& first) {
  std::string filter;
  for (const ThreadCounts& thread : first.threads) filter = either(filter, fmt::format("pid=={}", thread.tid));
  return filter;
}

// Pages that were moved anywhere on this host.
std::uint64_t moved_pages(const topology::Sysfs& root) {
  return number_after(root.read("/proc/vmstat").value_or(""), "pgmigrate_success ").value_or(0);
}

}  // namespace

std::vector<AddressRange> promised_memory(const Subject& subject) {
  std::vector<AddressRange> ranges;
  const std::string maps = subject.root.read(fmt::format("/proc/{}/maps", subject.qemu)).value_or("");
  for (const topology::MappedRange& range : subject.maps) {
    if (range.start == 0 || (!range.huge && !range.policy.starts_with("bind"))) continue;
    if (const std::uint64_t end = end_of_mapping(maps, range.start); end > 0) ranges.push_back({range.start, end});
  }
  return ranges;
}

std::string filter_within(const std::vector<AddressRange>& ranges) {
  std::string filter;
  for (const AddressRange& range : ranges)
    filter = either(filter, fmt::format("(addr>={:#x}&&addr<{:#x})", range.start, range.end));
  return filter;
}

std::string filter_outside(const Sample& first, const topology::CpuSet& online) {
  std::string filter;
  for (const ThreadCounts& thread : first.threads) {
    if (thread.cpus.empty() || (thread.cpus.size() == 1 && thread.migrations)) continue;
    std::string there;
    const std::vector<unsigned> others = (online - thread.cpus).to_vector();
    for (std::size_t i = 0; i < others.size(); ++i) {
      const unsigned from = others[i];
      while (i + 1 < others.size() && others[i + 1] == others[i] + 1) ++i;
      there = either(there, fmt::format("(dest_cpu>={}&&dest_cpu<={})", from, others[i]));
    }
    if (!there.empty()) filter = either(filter, fmt::format("(pid=={}&&({}))", thread.tid, there));
  }
  return filter;
}

std::string filter_stops(const Sample& first) {
  const std::string threads = filter_on_threads(first);
  return threads.empty() ? "" : fmt::format("sig=={}&&({})", SIGSTOP, threads);
}

Events::Counted Events::count(std::string_view name, const std::string& filter) const {
  return filter.empty() ? nullptr : std::make_unique<EventCount>(root_, name, filter, online_);
}

Events::Events(const Subject& subject, const Sample& first) : root_(subject.root) {
  if (const auto online = topology::CpuSet::parse(root_.read("/sys/devices/system/cpu/online").value_or("")))
    online_ = *online;
  // an event takes an fd for each CPU, and a shell's limit is 1024
  raise_file_limit(5 * online_.size() + 256);
  if (subject.plan.placement.page.count >= huge_page) page_ = subject.plan.placement.page.count;
  const std::string memory = filter_within(promised_memory(subject));
  pages_ = count("migrate/set_migration_pte", memory);
  // a kernel without transparent huge pages has no such event, and moves none
  constexpr const char* whole = "thp/set_migration_pmd";
  if (page_ < huge_page && tracepoint(root_, whole)) huge_ = count(whole, memory);
  strays_ = count("sched/sched_migrate_task", filter_outside(first, online_));
  stops_ = count("signal/signal_generate", filter_stops(first));
  moved_before_ = moved_pages(root_);
}

void Events::add_to(Window& window) const {
  const auto happened = [](const Counted& count) { return count && count->error().empty() ? count->count() : 0; };
  const auto unread = [](const Counted& count) { return count ? count->error() : ""; };
  // where a look has seen it, too, that says more
  if (const std::uint64_t times = happened(strays_); times > 0 && window.moved.empty())
    window.moved.push_back(fmt::format("a thread with several CPUs was on one that is not its own, {} times", times));
  if (const std::uint64_t times = happened(stops_); times > 0 && window.stopped.empty())
    window.stopped.push_back(fmt::format("a signal stopped QEMU, {} times", times));
  const std::string why = unread(pages_) + unread(huge_);
  const std::uint64_t of_host = moved_pages(root_) - moved_before_;
  if (why.empty())
    window.memory.moved = happened(pages_) * page_ + happened(huge_) * huge_page;
  else if (of_host > 0)
    window.not_checked.push_back(
        fmt::format("whose {} pages were moved from one place to another on this host: {}", of_host, why));
}

}  // namespace launcher::watch
