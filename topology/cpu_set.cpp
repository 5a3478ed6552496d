// The set as 64-bit words, and its text form. The rule: after every change the last word is not zero, so that equality
// is equality of vectors.
#include "topology/cpu_set.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cassert>
#include <charconv>

#include "topology/shown.hpp"

namespace topology {

namespace {

constexpr unsigned bits = 64;

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view blank = " \t\r\n";
  const auto from = text.find_first_not_of(blank);
  if (from == text.npos) return {};
  return text.substr(from, text.find_last_not_of(blank) - from + 1);
}

struct Range {
  unsigned first = 0, last = 0;
};

std::expected<unsigned, std::string> parse_cpu(std::string_view text) {
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc::invalid_argument || end != text.data() + text.size())
    return std::unexpected(fmt::format("\"{}\" is not a CPU number", shown(text)));
  if (error == std::errc::result_out_of_range || value > CpuSet::max_cpu)
    return std::unexpected(fmt::format("CPU number {} is too large (at most {})", shown(text), CpuSet::max_cpu));
  return value;
}

std::expected<Range, std::string> parse_range(std::string_view text) {
  const auto dash = text.find('-');
  const auto first = parse_cpu(text.substr(0, dash));
  if (!first && dash == 0) return std::unexpected(fmt::format("\"{}\" has no CPU number before '-'", shown(text)));
  if (!first) return std::unexpected(first.error());
  if (dash == text.npos) return Range{*first, *first};
  if (dash + 1 == text.size()) return std::unexpected(fmt::format("\"{}\" has no CPU number after '-'", shown(text)));
  const auto last = parse_cpu(text.substr(dash + 1));
  if (!last) return std::unexpected(last.error());
  if (*last < *first) return std::unexpected(fmt::format("range \"{}\" goes downwards", shown(text)));
  return Range{*first, *last};
}

}  // namespace

CpuSet::CpuSet(std::initializer_list<unsigned> cpus) {
  for (const unsigned cpu : cpus) add(cpu);
}

CpuSet CpuSet::of_words(std::vector<std::uint64_t> words) {
  CpuSet set;
  set.words_ = std::move(words);
  set.trim();
  return set;
}

CpuSet CpuSet::range(unsigned first, unsigned last) {
  CpuSet set;
  for (unsigned cpu = first; cpu <= last && cpu <= max_cpu; ++cpu) set.add(cpu);
  return set;
}

std::expected<CpuSet, std::string> CpuSet::parse(std::string_view text) {
  CpuSet set;
  std::string_view rest = trimmed(text);
  if (rest.empty()) return set;
  for (;;) {
    const auto comma = rest.find(',');
    std::string_view part = trimmed(rest.substr(0, comma));
    const bool out = part.starts_with('^');
    if (out) part = trimmed(part.substr(1));
    if (part.empty())
      return std::unexpected(out ? "nothing after '^'" : fmt::format("empty element in \"{}\"", shown(trimmed(text))));
    const auto range = parse_range(part);
    if (!range) return std::unexpected(range.error());
    for (unsigned cpu = range->first; cpu <= range->last; ++cpu) {
      if (out)
        set.remove(cpu);
      else
        set.add(cpu);
    }
    if (comma == rest.npos) return set;
    rest = rest.substr(comma + 1);
  }
}

std::expected<CpuSet, std::string> CpuSet::parse_mask(std::string_view text) {
  CpuSet set;
  unsigned bit = 0;
  const std::string_view mask = trimmed(text);
  for (auto digit = mask.rbegin(); digit != mask.rend(); ++digit) {
    if (*digit == ',') continue;
    unsigned value = 0;
    if (std::from_chars(&*digit, &*digit + 1, value, 16).ec != std::errc{})
      return std::unexpected(fmt::format("\"{}\" is no hexadecimal mask", shown(mask)));
    for (unsigned i = 0; i < 4; ++i) {
      if ((value >> i & 1U) == 0) continue;
      if (bit + i > max_cpu) return std::unexpected(fmt::format("mask \"{}\" is too long", shown(mask)));
      set.add(bit + i);
    }
    bit += 4;
  }
  return set;
}

std::string CpuSet::to_mask() const {
  std::string text;
  for (auto word = words_.rbegin(); word != words_.rend(); ++word)
    for (const unsigned shift : {32U, 0U}) {
      const auto part = static_cast<std::uint32_t>(*word >> shift);
      if (!text.empty())
        text += fmt::format(",{:08x}", part);
      else if (part != 0)
        text = fmt::format("{:x}", part);
    }
  return text.empty() ? "0" : text;
}

void CpuSet::add(unsigned cpu) {
  assert(cpu <= max_cpu);
  if (cpu / bits >= words_.size()) words_.resize(cpu / bits + 1);
  words_[cpu / bits] |= std::uint64_t{1} << cpu % bits;
}

void CpuSet::remove(unsigned cpu) {
  if (cpu / bits >= words_.size()) return;
  words_[cpu / bits] &= ~(std::uint64_t{1} << cpu % bits);
  trim();
}

bool CpuSet::contains(unsigned cpu) const {
  return cpu / bits < words_.size() && (words_[cpu / bits] >> cpu % bits & 1) != 0;
}

bool CpuSet::contains(const CpuSet& other) const {
  if (other.words_.size() > words_.size()) return false;
  for (std::size_t i = 0; i < other.words_.size(); ++i)
    if ((other.words_[i] & ~words_[i]) != 0) return false;
  return true;
}

bool CpuSet::intersects(const CpuSet& other) const {
  for (std::size_t i = 0; i < std::min(words_.size(), other.words_.size()); ++i)
    if ((words_[i] & other.words_[i]) != 0) return true;
  return false;
}

unsigned CpuSet::size() const {
  unsigned count = 0;
  for (const auto word : words_) count += static_cast<unsigned>(std::popcount(word));
  return count;
}

unsigned CpuSet::first() const {
  assert(!empty());
  unsigned w = 0;
  while (words_[w] == 0) ++w;
  return w * bits + static_cast<unsigned>(std::countr_zero(words_[w]));
}

std::vector<unsigned> CpuSet::to_vector() const {
  std::vector<unsigned> cpus;
  cpus.reserve(size());
  for (unsigned w = 0; w < words_.size(); ++w)
    for (auto word = words_[w]; word != 0; word &= word - 1)
      cpus.push_back(w * bits + static_cast<unsigned>(std::countr_zero(word)));
  return cpus;
}

std::string CpuSet::to_string() const {
  std::string text;
  const auto cpus = to_vector();
  for (std::size_t i = 0; i < cpus.size();) {
    std::size_t end = i + 1;
    while (end < cpus.size() && cpus[end] == cpus[end - 1] + 1) ++end;
    if (!text.empty()) text += ',';
    text += fmt::to_string(cpus[i]);
    if (end - i > 1) text += fmt::format("-{}", cpus[end - 1]);
    i = end;
  }
  return text;
}

CpuSet& CpuSet::operator|=(const CpuSet& other) {
  if (other.words_.size() > words_.size()) words_.resize(other.words_.size());
  for (std::size_t i = 0; i < other.words_.size(); ++i) words_[i] |= other.words_[i];
  return *this;
}

CpuSet& CpuSet::operator&=(const CpuSet& other) {
  if (words_.size() > other.words_.size()) words_.resize(other.words_.size());
  for (std::size_t i = 0; i < words_.size(); ++i) words_[i] &= other.words_[i];
  trim();
  return *this;
}

CpuSet& CpuSet::operator-=(const CpuSet& other) {
  for (std::size_t i = 0; i < std::min(words_.size(), other.words_.size()); ++i) words_[i] &= ~other.words_[i];
  trim();
  return *this;
}

void CpuSet::trim() {
  while (!words_.empty() && words_.back() == 0) words_.pop_back();
}

}  // namespace topology
