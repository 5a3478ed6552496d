// What a host check is: one function and one row. The rule: a check only reads, only through Audit, and when it has looked
// it says so: level ok with what it found, or what is wanted, why, and how to get there. Where there is nothing to look at
// (no such hardware, no such file) it says nothing.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "topology/cpu_set.hpp"

namespace launcher::inline checks {

// advice: some VMs gain; warning: it costs clearly, or settings contradict each other; problem: a VM does not run, or does
// not run as specified.
enum class Level { ok, advice, warning, problem };

struct Finding {
  Level level = Level::ok;
  std::string check = {};              // the row's name
  std::string subject = {};            // "CPUs 4-7", "node 1", "nvme0n1", "disk[0]"; "" for the whole machine
  std::string found = {};              // what was read, in words
  std::vector<std::string> read = {};  // where
  std::string wanted = {};             // this and all below but why: "" when all is well
  std::string why = {};                // when all is well: why a guide's advice does not hold here; else ""
  std::string guide = {};              // "001 3.2.2"
  std::string matters = {};            // for which kind of VM
  std::string now = {};                // how to change it at once
  std::string lasting = {};            // how to make it last
  std::string cost = {};               // what the change costs
  friend bool operator==(const Finding&, const Finding&) = default;
};

// What one check has to say. Each call returns the new finding, so that a subject or a reason can be put on it.
class Findings {
 public:
  using Paths = std::vector<std::string>;
  Finding& ok(std::string found, Paths read = {}) {
    return list_.emplace_back(Finding{.level = Level::ok, .found = std::move(found), .read = std::move(read)});
  }
  // A guide's advice that does not hold here, and why.
  Finding& leave(std::string found, Paths read, std::string why) {
    Finding& finding = ok(std::move(found), std::move(read));
    finding.why = std::move(why);
    return finding;
  }
  Finding& want(Level level, std::string found, Paths read, std::string wanted, std::string now,
                std::string lasting = "") {
    return list_.emplace_back(Finding{.level = level,
                                      .found = std::move(found),
                                      .read = std::move(read),
                                      .wanted = std::move(wanted),
                                      .now = std::move(now),
                                      .lasting = std::move(lasting)});
  }
  std::vector<Finding> take() { return std::move(list_); }

 private:
  std::vector<Finding> list_;
};

class Audit;
struct AuditedVm;

struct Check {
  std::string_view name, topic;
  std::string_view guide;    // which guide, and where in it
  std::string_view why;      // for every finding that wants something and gives no reason of its own
  std::string_view matters;  // for which kind of VM
  std::string_view cost;     // of doing what is wanted
  void (*run)(const Audit&, Findings&);
  bool (*concerns)(const AuditedVm&);  // with a spec: whether this VM is touched by it at all
};

// The table: every topic's rows, in the order in which they are printed. A topic is a file that ends with its rows.
std::vector<Check> all_checks();

std::vector<Check> firmware_checks();
std::vector<Check> kvm_checks();
std::vector<Check> power_checks();
std::vector<Check> idle_checks();
std::vector<Check> clock_checks();
std::vector<Check> isolation_checks();
std::vector<Check> stray_checks();
std::vector<Check> numa_checks();
std::vector<Check> memory_checks();
std::vector<Check> pool_checks();
std::vector<Check> network_checks();
std::vector<Check> storage_checks();
std::vector<Check> pci_checks();
std::vector<Check> security_checks();
std::vector<Check> vm_checks();

std::string cpus_text(const topology::CpuSet& cpus);  // "CPU 4", "CPUs 4-7"

// How a setting is changed now and made to last, worded alike everywhere.
std::string sysctl_now(std::string_view key, std::string_view value);
std::string sysctl_lasting(std::string_view key, std::string_view value);
std::string write_now(std::string_view value, std::string_view path);      // also with * in the path
std::string write_lasting(std::string_view value, std::string_view path);  // tmpfiles.d
std::string module_now(std::string_view module, std::string_view options);
std::string module_lasting(std::string_view module, std::string_view options);
std::string boot_lasting(std::string_view words);
std::string firmware_now(std::string_view item);

}  // namespace launcher::checks
