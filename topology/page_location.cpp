// numa_maps parsed, and the three system calls that say where a thread and its memory may be. Kernel interfaces:
// Documentation/filesystems/proc.rst, set_mempolicy(2), sched_setaffinity(2).
#include "topology/page_location.hpp"

#include <fmt/format.h>
#include <numaif.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>

#include "topology/sysfs.hpp"

namespace topology {

namespace {

constexpr unsigned largest_node = 4095;  // the kernel's MAX_NUMNODES is 1024; bounds hostile input

std::error_code last_error() { return {errno, std::generic_category()}; }

template <typename Number>
bool read_number(std::string_view text, Number& number, int base = 10) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  return error == std::errc{} && end == text.data() + text.size() && !text.empty();
}

// The next word up to one blank, taken off the front of text.
std::string_view next_word(std::string_view& text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  const auto end = text.find(' ');
  const auto word = text.substr(0, end);
  text.remove_prefix(end == text.npos ? text.size() : end);
  return word;
}

// The kernel writes blanks, '=' and '\\' of a path as \\ooo, and " (deleted)" behind one that has no name any more.
std::string plain_path(std::string_view text) {
  std::string path;
  const auto octal = [](char c) { return c >= '0' && c <= '7'; };
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && octal(text[i + 1]) && octal(text[i + 2]) && octal(text[i + 3])) {
      path += static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0'));
      i += 3;
    } else {
      path += text[i];
    }
  }
  constexpr std::string_view gone = " (deleted)";
  if (path.ends_with(gone)) path.resize(path.size() - gone.size());
  return path;
}

bool read_item(std::string_view word, MappedRange& range) {
  if (word.starts_with("file=")) {
    range.file = plain_path(word.substr(5));
  } else if (word == "huge") {
    range.huge = true;
  } else if (word.starts_with("kernelpagesize_kB=")) {
    std::uint64_t kilobytes = 0;
    if (!read_number(word.substr(18), kilobytes) || kilobytes > std::uint64_t{1} << 40) return false;
    range.page = kib(kilobytes);
  } else if (word.size() >= 2 && word[0] == 'N' && word[1] >= '0' && word[1] <= '9') {
    const auto equals = word.find('=');
    unsigned node = 0;
    std::uint64_t pages = 0;
    if (equals == word.npos || !read_number(word.substr(1, equals - 1), node) || node > largest_node) return false;
    if (!read_number(word.substr(equals + 1), pages)) return false;
    range.pages_on_node[node] += pages;
  }
  return true;  // heap, stack, anon=, dirty=, mapped=, active=, ...: of no use here
}

std::expected<MappedRange, std::string> parse_line(std::string_view line) {
  const std::string_view whole = line;
  const auto bad = [whole] {
    return std::unexpected(fmt::format("not a numa_maps line: \"{}\"", whole.substr(0, 120)));
  };
  MappedRange range;
  if (!read_number(next_word(line), range.start, 16)) return bad();
  range.policy = next_word(line);
  if (range.policy.empty()) return bad();
  if (range.policy == "prefer" && line.starts_with(" (many)"))
    range.policy.append(" ").append(next_word(line));  // its name
  while (!line.empty()) {
    const auto word = next_word(line);
    if (!read_item(word, range)) return bad();
  }
  return range;
}

using Mask = std::vector<unsigned long>;

Mask mask_of(const std::vector<unsigned>& numbers) {
  constexpr unsigned width = std::numeric_limits<unsigned long>::digits;
  Mask mask(1);
  for (const unsigned number : numbers) {
    if (number / width >= mask.size()) mask.resize(number / width + 1);
    mask[number / width] |= 1UL << number % width;
  }
  return mask;
}

// As set_mempolicy(2) and mbind(2) want it.
struct KernelPolicy {
  int mode = MPOL_DEFAULT;
  Mask mask;
  KernelPolicy(MemoryPolicy policy, const std::vector<unsigned>& nodes) {
    if (nodes.empty()) return;
    const bool one = policy == MemoryPolicy::preferred;
    mask = mask_of(one ? std::vector<unsigned>{nodes.front()} : nodes);
    mode = one ? MPOL_PREFERRED : policy == MemoryPolicy::interleave ? MPOL_INTERLEAVE : MPOL_BIND;
  }
  // one more than there are (set_mempolicy(2), BUGS)
  unsigned long bits() const { return mask.empty() ? 0 : mask.size() * std::numeric_limits<unsigned long>::digits + 1; }
};

}  // namespace

std::expected<std::vector<MappedRange>, std::string> parse_numa_maps(std::string_view text) {
  std::vector<MappedRange> ranges;
  while (!text.empty()) {
    const auto end = text.find('\n');
    const auto line = text.substr(0, end);
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
    if (line.empty()) continue;
    auto range = parse_line(line);
    if (!range) return std::unexpected(range.error());
    ranges.push_back(*std::move(range));
  }
  return ranges;
}

std::expected<std::vector<MappedRange>, std::string> read_numa_maps(pid_t pid) {
  const auto path = fmt::format("/proc/{}/numa_maps", pid);
  const auto text = Sysfs{}.read(path);
  if (!text) return std::unexpected(fmt::format("cannot read {}", path));
  return parse_numa_maps(*text);
}

PageCounts count_pages(const std::vector<MappedRange>& ranges) {
  PageCounts counts;
  for (const MappedRange& range : ranges)
    for (const auto& [node, pages] : range.pages_on_node) counts[{node, range.page.count}] += pages;
  return counts;
}

std::optional<unsigned> only_node() {
  unsigned node = 0;
  const auto nodes = Sysfs{}.read("/sys/devices/system/node/has_memory");
  return nodes && read_number(*nodes, node) ? std::optional(node) : std::nullopt;
}

std::expected<std::vector<MappedRange>, std::string> read_huge_pages(pid_t pid, Bytes page) {
  const std::optional<unsigned> node = only_node();
  const std::string status = node ? Sysfs{}.read(fmt::format("/proc/{}/status", pid)).value_or("") : "";
  constexpr std::string_view key = "\nHugetlbPages:";
  const auto found = status.find(key);
  if (page.count == 0 || found == status.npos) return read_numa_maps(pid);
  std::string_view rest = std::string_view(status).substr(found + key.size());
  rest.remove_prefix(std::min(rest.find_first_not_of(" \t"), rest.size()));
  std::uint64_t kilobytes = 0;
  if (!read_number(next_word(rest), kilobytes)) return read_numa_maps(pid);
  MappedRange all{.policy = "default", .file = {}, .huge = true, .page = page, .pages_on_node = {}};
  if (const std::uint64_t pages = kib(kilobytes).count / page.count; pages > 0) all.pages_on_node[*node] = pages;
  return std::vector<MappedRange>{std::move(all)};
}

std::error_code set_own_memory_policy(MemoryPolicy policy, const std::vector<unsigned>& nodes) {
  const KernelPolicy wanted(policy, nodes);
  return set_mempolicy(wanted.mode, wanted.mask.data(), wanted.bits()) == 0 ? std::error_code{} : last_error();
}

std::error_code set_memory_policy(void* mapping, Bytes size, MemoryPolicy policy, const std::vector<unsigned>& nodes) {
  const KernelPolicy wanted(policy, nodes);
  return mbind(mapping, size.count, wanted.mode, wanted.mask.data(), wanted.bits(), 0) == 0 ? std::error_code{}
                                                                                            : last_error();
}

std::error_code set_affinity(pid_t tid, const CpuSet& cpus) {
  const Mask mask = mask_of(cpus.to_vector());
  const long result = ::syscall(SYS_sched_setaffinity, tid, mask.size() * sizeof(mask[0]), mask.data());
  return result == 0 ? std::error_code{} : last_error();
}

std::expected<CpuSet, std::error_code> get_affinity(pid_t tid) {
  static_assert(sizeof(unsigned long) == sizeof(std::uint64_t));
  std::array<std::uint64_t, (CpuSet::max_cpu + 1) / 64> mask{};  // of which the kernel writes what it says
  const long bytes = ::syscall(SYS_sched_getaffinity, tid, sizeof mask, mask.data());
  if (bytes < 0) return std::unexpected(last_error());
  return CpuSet::of_words({mask.data(), mask.data() + bytes / static_cast<long>(sizeof mask[0])});
}

}  // namespace topology
