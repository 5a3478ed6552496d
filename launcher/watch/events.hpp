// What befalls a VM between two looks, by the kernel's own events: its memory was moved, a thread was sent off its CPUs, a signal
// stopped it. The rule: counted and not recorded, so that a quiet VM costs nothing; what the kernel's filter lets through is the VM's.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "launcher/watch/perf.hpp"

namespace launcher::inline proof {
struct Subject;
}

namespace launcher::inline watch {

struct Sample;
struct Window;

// Addresses of a process: [start, end).
struct AddressRange {
  std::uint64_t start = 0, end = 0;
  friend bool operator==(const AddressRange&, const AddressRange&) = default;
};
// Where the guest's memory lies that was promised its nodes: in pages of a pool, or bound. None: the machine has one node only.
std::vector<AddressRange> promised_memory(const Subject& subject);

// What the kernel's filters let through; "" where there is nothing to look for.
std::string filter_within(const std::vector<AddressRange>& ranges);  // on `addr`
// A thread that goes to a CPU which is not its own. Of one that has a single CPU its own count of migrations tells that by name.
std::string filter_outside(const Sample& first, const topology::CpuSet& online);
std::string filter_stops(const Sample& first);  // SIGSTOP to a thread of the VM's

class Events {
 public:
  Events(const Subject& subject, const Sample& first);
  void add_to(Window& window) const;  // all that has happened since

 private:
  using Counted = std::unique_ptr<EventCount>;  // nullptr: nothing to look for
  Counted count(std::string_view name, const std::string& filter) const;

  topology::Sysfs root_;
  topology::CpuSet online_;
  std::uint64_t page_ = 4096;  // what one entry of a page table's last level maps
  Counted pages_, huge_, strays_, stops_;
  std::uint64_t moved_before_ = 0;  // pages of the whole host
};

}  // namespace launcher::watch
