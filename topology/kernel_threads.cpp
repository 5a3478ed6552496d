#include "topology/kernel_threads.hpp"

#include <algorithm>
#include <charconv>
#include <string>

#include "topology/task_stat.hpp"

namespace topology {

std::optional<std::vector<pid_t>> kernel_threads(const Sysfs& root) {
  if (root.read("/proc/2/comm") != "kthreadd") return std::nullopt;
  const auto text = root.read("/proc/2/task/2/children");
  if (!text) return std::nullopt;
  std::vector<pid_t> threads;
  const char* at = text->data();
  const char* const end = at + text->size();
  for (pid_t thread = 0; at < end; ++at) {
    const auto [after, error] = std::from_chars(at, end, thread);
    if (error != std::errc()) break;
    threads.push_back(thread);
    at = after;
  }
  return threads;
}

std::optional<std::vector<pid_t>> kernel_threads_since(const Sysfs& root, std::uint64_t start) {
  auto threads = kernel_threads(root);
  if (!threads) return std::nullopt;
  const Sysfs::Directory proc = root.directory("/proc");
  const auto is_older = [&](pid_t thread) {  // one that has ended meanwhile: nobody looks for it, on either side
    const auto stat = parse_stat(proc.read(std::to_string(thread) + "/stat").value_or(""));
    return stat && stat->start < start;
  };
  threads->erase(threads->begin(), std::ranges::partition_point(*threads, is_older));
  return threads;
}

}  // namespace topology
