// What differs between two records: one entry each, with both values, its weight, and what a host check knows of it. The rule: whatever
// a record holds is compared; what only one of them can know (a running VM has no spec on record) is named as not compared.
#pragma once

#include <string>
#include <vector>

#include "launcher/record/lock.hpp"

namespace launcher::inline record {

struct Drift {
  std::string group;    // "spec", "placement", "argv", "steps", "images", "files", "power" ...
  std::string name;     // "cpu.count", "governor"
  std::string was, is;  // "": not there
  Grade grade = Grade::changes;
  std::string effect;  // what it does, as a host check has it; "" where none knows
  friend bool operator==(const Drift&, const Drift&) = default;
};

struct Comparison {
  std::vector<Drift> drifts;              // by group, then name
  std::vector<std::string> not_compared;  // groups that one of the two has not
};
Comparison compare(const LaunchLock& was, const LaunchLock& is);

// Every value that compare() looks at.
Groups items_of(const LaunchLock& lock);

Grade grade_of(const std::string& group, const std::string& name);
std::vector<std::string> drift_groups();  // every group there can be: what --allow takes

std::string drifts_text(const Comparison& found);  // for a person
boost::json::array drifts_json(const std::vector<Drift>& drifts);

}  // namespace launcher::record
