// What decides how a run goes, as named values in groups. The rule: a fact is one row of a table (host_facts.cpp); its value is text that
// is the same as long as the machine is, so that two records can be compared line by line.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "topology/host_topology.hpp"
#include "topology/sysfs.hpp"

namespace launcher::inline record {

// What a difference may do to a result.
enum class Grade { cosmetic, may, changes };
const char* words_of(Grade grade);  // "cosmetic", "may change results", "changes results"

using Values = std::map<std::string, std::string>;
using Groups = std::map<std::string, Values>;  // "power" -> "governor" -> "performance on 0-7"

// Whether values that name a machine (a boot line's root=, ip=, a token) are written down, or told apart only.
enum class Naming { hidden, shown };

struct HostSource {
  const topology::Sysfs& root;
  const topology::HostTopology& topology;
  Naming naming = Naming::hidden;
};

struct FactRow {
  std::string_view group, name;  // name "": read() names them
  Grade grade;
  std::string_view check;                                  // the host check that knows what it does; "": none
  std::string_view path;                                   // a file of one value; "": read() knows where
  Values (*read)(const HostSource&, const FactRow&) = {};  // nullptr: the file's text is the value
};
const std::vector<FactRow>& fact_table();

Groups host_facts(const HostSource& source);

// Rows of many names (more_facts.cpp).
Values more_sysctls(const HostSource& source, const FactRow& row);
Values page_sizes(const HostSource& source, const FactRow& row);
Values uncore_limits(const HostSource& source, const FactRow& row);
Values live_patches(const HostSource& source, const FactRow& row);

// A word of the kernel's command line beside what the kernel made of it.
struct Effective {
  std::string requested;  // "isolcpus=2-3"
  std::string effective;  // "2-3"; "" when nothing says
  std::string where;      // the file that says so
  friend bool operator==(const Effective&, const Effective&) = default;
};
std::vector<Effective> effective_values(const HostSource& source);

// The words of the boot line; those that may name a machine by a digest only, unless they are to be shown.
Values boot_words(const HostSource& source);

// How a text is told apart without being shown: "#0f3a5c7b9d1e2f40".
std::string digest_of_text(std::string_view text);

}  // namespace launcher::record
