#include "launcher/steps/kernel_text.hpp"

#include <algorithm>
#include <sstream>

namespace launcher::inline steps {

using topology::CpuSet;

namespace {

bool is_mask(std::string_view path) {
  for (const char* name : {"cpumask", "smp_affinity", "rps_cpus", "xps_cpus"})
    if (path.ends_with(name)) return true;
  return false;
}

bool is_list(std::string_view path) { return path.ends_with("_list") || path.ends_with("cpuset.cpus"); }

bool is_parameter(std::string_view path) {
  return path.starts_with("/sys/module/") && path.find("/parameters/") != path.npos;
}

}  // namespace

std::string value_of(std::string_view text) {
  std::istringstream in{std::string(text)};
  std::string all;
  for (std::string word; in >> word;) {
    if (word.size() > 2 && word.front() == '[' && word.back() == ']') return word.substr(1, word.size() - 2);
    all += (all.empty() ? "" : " ") + word;
  }
  return all;
}

bool has_word(std::string_view text, std::string_view wanted) {
  constexpr std::string_view between = " \t\n;:";
  while (!text.empty()) {
    const std::size_t end = std::min(text.find_first_of(between), text.size());
    if (text.substr(0, end) == wanted) return true;
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return wanted.empty();
}

CpuSet mask_of(std::string_view path, std::string_view text) {
  return (is_mask(path) ? CpuSet::parse_mask(text) : CpuSet::parse(text)).value_or(CpuSet{});
}

std::string mask_text(std::string_view path, const CpuSet& cpus) {
  return is_mask(path) ? cpus.to_mask() : cpus.to_string();
}

bool same_value(std::string_view path, std::string_view a, std::string_view b) {
  const auto canonical = [&](std::string_view text) {
    std::string value = value_of(text);
    if (is_mask(path) || is_list(path)) {
      const CpuSet cpus = mask_of(path, value);
      return cpus.empty() ? value : cpus.to_string();
    }
    if (is_parameter(path) && (value == "Y" || value == "N")) value = value == "Y" ? "1" : "0";
    return value;
  };
  return canonical(a) == canonical(b);
}

}  // namespace launcher::steps
