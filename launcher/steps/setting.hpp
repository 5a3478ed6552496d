// Steps that change settings of the kernel: a file's value, or the CPUs of a mask that several VMs share. The rule: an undo
// never takes back what somebody else has set since, so a value is put back only while it still is what we made it, and of
// a mask only our own CPUs are.
#pragma once

#include <boost/describe/class.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include "topology/cpu_set.hpp"

namespace launcher::inline steps {

struct PerformContext;
struct UndoContext;

// A file of such a group. It is read back: `expect` must then be among its words. It goes with the group; what turns a
// controller on for all groups below a shared one stays on.
struct WriteControl {
  static constexpr const char* kind = "write_control";
  static constexpr bool locked = true;
  std::string path;
  std::string text;
  std::string expect;
  std::string describe() const;
  void perform(PerformContext& context) const;
  friend bool operator==(const WriteControl&, const WriteControl&) = default;
};
BOOST_DESCRIBE_STRUCT(WriteControl, (), (path, text, expect))

// Its undo: left alone where the file no longer reads `ours`, or is gone with its CPU or device.
struct PutBack {
  static constexpr const char* kind = "put_back";
  std::string path;
  std::string ours;
  std::string before;
  std::string describe() const;
  void perform(UndoContext& context) const;
  friend bool operator==(const PutBack&, const PutBack&) = default;
};
BOOST_DESCRIBE_STRUCT(PutBack, (), (path, ours, before))

// A file below /sys or /proc/sys. before: what it read when this was planned.
struct SetValue {
  static constexpr const char* kind = "set_value";
  static constexpr bool locked = true;
  std::string path;
  std::string before;
  std::string value;
  std::string describe() const;
  PutBack undo() const { return {path, value, before}; }
  PutBack precheck(PerformContext& context) const;
  void perform(PerformContext& context) const;
  friend bool operator==(const SetValue&, const SetValue&) = default;
};
BOOST_DESCRIBE_STRUCT(SetValue, (), (path, before, value))

struct KeepBack {
  static constexpr const char* kind = "keep_beside";
  std::string path;
  std::string value;
  std::string beside;
  std::string reads;
  std::string describe() const;
  void perform(UndoContext& context) const;
  friend bool operator==(const KeepBack&, const KeepBack&) = default;
};
BOOST_DESCRIBE_STRUCT(KeepBack, (), (path, value, beside, reads))

// What the kernel itself changes beside a SetValue (a disk's queue length, with its scheduler). Before that step it does
// nothing; its undo puts the value back, once the other file reads what it read then.
struct KeepBeside {
  static constexpr const char* kind = "keep_beside";
  std::string path;
  std::string value;
  std::string beside;
  std::string reads;
  std::string describe() const;
  KeepBack undo() const { return {path, value, beside, reads}; }
  void perform(PerformContext& context) const;
  friend bool operator==(const KeepBeside&, const KeepBeside&) = default;
};
BOOST_DESCRIBE_STRUCT(KeepBeside, (), (path, value, beside, reads))

struct MaskBack {
  static constexpr const char* kind = "change_mask";
  std::string path;
  topology::CpuSet remove;
  topology::CpuSet add;
  std::optional<unsigned> back_on = {};
  std::string describe() const;
  void perform(UndoContext& context) const;
  friend bool operator==(const MaskBack&, const MaskBack&) = default;
};
BOOST_DESCRIBE_STRUCT(MaskBack, (), (path, remove, add, back_on))

// A mask of CPUs (/proc/irq/N/smp_affinity_list, the workqueues' cpumask): takes CPUs out and puts CPUs in; its undo is the
// same the other way round. So VMs that share a mask may end in any order, if what is put in is given to no VM, and both
// sets are what really changes: mask_change() works them out. An interrupt that the kernel does not let go is passed over.
struct ChangeMask {
  static constexpr const char* kind = "change_mask";
  static constexpr bool locked = true;
  std::string path;
  topology::CpuSet remove;
  topology::CpuSet add;
  std::optional<unsigned> back_on = {};  // on which of its CPUs an interrupt was: the undo brings it there again
  std::string describe() const;
  MaskBack undo() const { return {path, add, remove, back_on}; }
  void perform(PerformContext& context) const;
  friend bool operator==(const ChangeMask&, const ChangeMask&) = default;
};
BOOST_DESCRIBE_STRUCT(ChangeMask, (), (path, remove, add, back_on))

// A file that went with its device, its group or its interrupt.
bool is_gone(const std::error_code& error);
// What a file reads, as it would be written: the chosen word of "[mq-deadline] none", single spaces.
std::string value_of(std::string_view text);
// Whether the file holds the same with both: also "00ff" and "ff" of a mask, "0-1" and "0,1" of a list, Y and 1 of a switch.
bool same_value(std::string_view path, std::string_view a, std::string_view b);
// The CPUs of a mask's text, hexadecimal or a list as the file's name says; empty where it is neither.
topology::CpuSet mask_of(std::string_view path, std::string_view text);
std::string mask_text(std::string_view path, const topology::CpuSet& cpus);
// To keep `away` out of a mask that reads `now`. Where nothing would be left in it, `instead` takes their place.
ChangeMask mask_change(std::string path, const topology::CpuSet& now, const topology::CpuSet& away,
                       const topology::CpuSet& instead);

}  // namespace launcher::steps
