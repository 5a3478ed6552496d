// The step that writes a file of the kernel, reads it back, and its undo: one kind, whatever is written. The rule: an undo never takes
// back what somebody else has set since, so a value is put back only while it still is what we made it, and of CPUs only our own are.
#pragma once

#include <boost/describe/class.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "topology/cpu_set.hpp"

namespace launcher::inline steps {

struct PerformContext;
struct UndoContext;

// --- what is written. back(): what undoes that, which is a change, too ---

// A word for a control of a group. Read back, `expect` must be among its words. It goes with the group; what turns a controller on for
// all groups below a shared one stays on: there is no undo.
struct Word {
  static constexpr const char* kind = "word";
  std::string text;
  std::string expect;
  friend bool operator==(const Word&, const Word&) = default;
};
BOOST_DESCRIBE_STRUCT(Word, (), (text, expect))

// A cpuset.cpus.partition of a group whose CPUs are set: "isolated" takes its CPUs from all other groups, without load balancing;
// "member" gives them to everybody again, whoever is still in the group. It is one only if the kernel says so when it is read back.
struct Partition {
  static constexpr const char* kind = "partition";
  std::string word = "isolated";
  Partition back() const { return {"member"}; }
  friend bool operator==(const Partition&, const Partition&) = default;
};
BOOST_DESCRIBE_STRUCT(Partition, (), (word))

// A value; before: what it read when this was planned. Another one by then is left alone.
struct Value {
  static constexpr const char* kind = "value";
  std::string before;
  std::string value;
  Value back() const { return {value, before}; }
  friend bool operator==(const Value&, const Value&) = default;
};
BOOST_DESCRIBE_STRUCT(Value, (), (before, value))

// What the kernel itself changes beside a Value (a disk's queue length, with its scheduler). Before that step it does nothing; its
// undo puts the value back, once the other file reads what it read then.
struct Beside {
  static constexpr const char* kind = "beside";
  std::string value;
  std::string beside;
  std::string reads;
  Beside back() const { return *this; }
  friend bool operator==(const Beside&, const Beside&) = default;
};
BOOST_DESCRIBE_STRUCT(Beside, (), (value, beside, reads))

// A mask or list of CPUs (/proc/irq/N/smp_affinity_list, the workqueues' cpumask, the cpuset.cpus of somebody else's group): takes CPUs
// out and puts CPUs in; its undo is the same the other way round. So VMs that share one may end in any order, if what is put in is given
// to no VM, and both sets are what really changes: mask_change() works them out. An interrupt that the kernel does not let go is passed
// over. An empty cpuset.cpus stands for all that the group above has, and reads so again once nothing is missing.
struct Cpus {
  static constexpr const char* kind = "cpus";
  topology::CpuSet remove;
  topology::CpuSet add;
  std::optional<unsigned> back_on = {};  // on which of its CPUs an interrupt was: the undo brings it there again
  Cpus back() const { return {add, remove, back_on}; }
  friend bool operator==(const Cpus&, const Cpus&) = default;
};
BOOST_DESCRIBE_STRUCT(Cpus, (), (remove, add, back_on))

using Change = std::variant<Word, Partition, Value, Beside, Cpus>;

// --- the undo, and the step ---

struct ChangeBack {
  static constexpr const char* kind = "change_back";
  std::string path;
  Change change;
  std::string describe() const;
  void perform(UndoContext& context) const;
  friend bool operator==(const ChangeBack&, const ChangeBack&) = default;
};
BOOST_DESCRIBE_STRUCT(ChangeBack, (), (path, change))

struct ChangeFile {
  static constexpr const char* kind = "change_file";
  static constexpr bool locked = true;
  std::string path;  // below /sys or /proc
  Change change;
  std::string describe() const;
  std::optional<ChangeBack> undo() const;
  std::optional<ChangeBack> precheck(PerformContext& context) const;
  void perform(PerformContext& context) const;
  friend bool operator==(const ChangeFile&, const ChangeFile&) = default;
};
BOOST_DESCRIBE_STRUCT(ChangeFile, (), (path, change))

// What `show` compares the file with while the VM runs; nullopt: nothing that is the VM's own.
std::optional<std::string> wanted_of(const Change& change);
// To keep `away` out of a mask that reads `now`. Where nothing would be left in it, `instead` takes their place.
Cpus mask_change(const topology::CpuSet& now, const topology::CpuSet& away, const topology::CpuSet& instead);

}  // namespace launcher::steps
