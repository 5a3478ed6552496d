// A set of CPU numbers as the kernel numbers them; "0-3,8,^2" both ways (the kernel's cpulist, plus libvirt's ^ to
// take one or a range out again). The rule: equal sets are equal values, whatever they were built from.
#pragma once

#include <compare>
#include <cstdint>
#include <expected>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace topology {

class CpuSet {
 public:
  static constexpr unsigned max_cpu = 65535;  // no kernel has more (NR_CPUS is 8192 on x86); bounds hostile input

  CpuSet() = default;
  CpuSet(std::initializer_list<unsigned> cpus);

  // Error: what was wrong, for the user. "" is the empty set; "3-1", "-1", "0-99999" and "a" are errors.
  static std::expected<CpuSet, std::string> parse(std::string_view text);
  // The kernel's hexadecimal masks: "f,ffffffff", the highest CPUs first. to_mask() is "0" for the empty set.
  static std::expected<CpuSet, std::string> parse_mask(std::string_view text);
  std::string to_mask() const;
  static CpuSet of_words(std::vector<std::uint64_t> words);  // bit i of word w is CPU 64*w+i
  static CpuSet range(unsigned first, unsigned last);        // both included

  void add(unsigned cpu);
  void remove(unsigned cpu);
  bool contains(unsigned cpu) const;
  bool contains(const CpuSet& other) const;  // other is a subset
  bool intersects(const CpuSet& other) const;
  bool empty() const { return words_.empty(); }
  unsigned size() const;
  unsigned first() const;                   // precondition: not empty
  std::vector<unsigned> to_vector() const;  // ascending
  std::string to_string() const;            // canonical cpulist: "0-3,8"

  CpuSet& operator|=(const CpuSet& other);
  CpuSet& operator&=(const CpuSet& other);
  CpuSet& operator-=(const CpuSet& other);
  friend CpuSet operator|(CpuSet a, const CpuSet& b) { return a |= b; }
  friend CpuSet operator&(CpuSet a, const CpuSet& b) { return a &= b; }
  friend CpuSet operator-(CpuSet a, const CpuSet& b) { return a -= b; }
  friend bool operator==(const CpuSet&, const CpuSet&) = default;

 private:
  void trim();
  std::vector<std::uint64_t> words_;  // bit i of word w is CPU 64*w+i; never ends in a zero word
};

}  // namespace topology
