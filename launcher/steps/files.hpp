// Steps that open, make and give away files. The rule: an fd is opened by us and closes by itself; what lies in the VM's directory goes
// with it; state outlives a run; of a file of somebody else's only the owner changes, and is put back.
#pragma once

#include <boost/describe/class.hpp>
#include <cstdint>
#include <optional>
#include <string>

#include "topology/bytes.hpp"

namespace launcher::inline steps {

struct PerformContext;
struct UndoContext;

// Images (fdset), kernel, initrd, firmware, /dev/kvm
struct OpenFile {
  static constexpr const char* kind = "open_file";
  std::string path;
  bool writable = false;
  bool reopened = false;  // QEMU opens /proc/self/fd/N again: the inode must be readable for its uid,
                          // else a sealed copy in memory is handed over
  int fd = -1;
  bool direct = false;  // O_DIRECT: from 9.1 QEMU takes an fd of a set only if that flag is as it wants it
  std::string describe() const;
  void perform(PerformContext& context) const;
  friend bool operator==(const OpenFile&, const OpenFile&) = default;
};
BOOST_DESCRIBE_STRUCT(OpenFile, (), (path, writable, reopened, fd, direct))

// A unix socket bound and listening before QEMU exists; it lies in the VM's directory and goes with it
struct Listen {
  static constexpr const char* kind = "listen";
  std::string path;
  int fd = -1;
  bool for_qemu = false;  // QEMU's user connects to it; else its owner is ours
  std::string describe() const;
  void perform(PerformContext& context) const;
  friend bool operator==(const Listen&, const Listen&) = default;
};
BOOST_DESCRIBE_STRUCT(Listen, (), (path, fd, for_qemu))

// A file or socket of others, found but not opened: QEMU reaches it as /proc/self/fd/N
struct HoldPath {
  static constexpr const char* kind = "hold_path";
  std::string path;
  int fd = -1;
  std::string describe() const;
  void perform(PerformContext& context) const;
  friend bool operator==(const HoldPath&, const HoldPath&) = default;
};
BOOST_DESCRIBE_STRUCT(HoldPath, (), (path, fd))

// Of QEMU's user, in the VM's own, with which it goes; QEMU reaches it in the same way
struct MakeDirectory {
  static constexpr const char* kind = "make_directory";
  std::string path;
  int fd = -1;
  std::string describe() const;
  void perform(PerformContext& context) const;
  friend bool operator==(const MakeDirectory&, const MakeDirectory&) = default;
};
BOOST_DESCRIBE_STRUCT(MakeDirectory, (), (path, fd))

// For appending; made where it is not there yet, and kept. Bounded: we write it, and QEMU a pipe
struct OpenLog {
  static constexpr const char* kind = "open_log";
  std::string path;
  int fd = -1;
  topology::Bytes most;  // of the file
  std::string describe() const;
  void perform(PerformContext& context) const;
  friend bool operator==(const OpenLog&, const OpenLog&) = default;
};
BOOST_DESCRIBE_STRUCT(OpenLog, (), (path, fd, most))

// With what leads there; one that is there already is taken. Kept: state outlives a run, and what lies in the VM's directory goes with it
struct KeepDirectory {
  static constexpr const char* kind = "keep_directory";
  std::string path;
  bool for_qemu = false;  // QEMU's user owns it and what is in it; else we do
  std::string describe() const;
  void perform(PerformContext& context) const;
  friend bool operator==(const KeepDirectory&, const KeepDirectory&) = default;
};
BOOST_DESCRIBE_STRUCT(KeepDirectory, (), (path, for_qemu))

// A VM's own copy of a template, at its first start; kept afterwards
struct CopyOnce {
  static constexpr const char* kind = "copy_once";
  std::string from, to;
  std::string describe() const;
  void perform(PerformContext& context) const;
  friend bool operator==(const CopyOnce&, const CopyOnce&) = default;
};
BOOST_DESCRIBE_STRUCT(CopyOnce, (), (from, to))

// A small record beside what is kept, replaced as a whole
struct KeepText {
  static constexpr const char* kind = "keep_text";
  std::string path, text;
  std::string describe() const;
  void perform(PerformContext& context) const;
  friend bool operator==(const KeepText&, const KeepText&) = default;
};
BOOST_DESCRIBE_STRUCT(KeepText, (), (path, text))

struct TakeFileBack {
  static constexpr const char* kind = "take_file_back";
  std::string path;
  unsigned uid = 0, gid = 0;
  std::optional<std::uint64_t> device = {}, inode = {};  // which file that was; what else has its name is left alone
  std::string describe() const;
  void perform(UndoContext& context) const;
  friend bool operator==(const TakeFileBack&, const TakeFileBack&) = default;
};
BOOST_DESCRIBE_STRUCT(TakeFileBack, (), (path, uid, gid, device, inode))

// A file that QEMU must open by itself (it takes no fd for it) is its user's while the VM lives.
struct GiveFile {
  static constexpr const char* kind = "give_file";
  std::string path;
  unsigned uid = 0, gid = 0;                // now
  unsigned before_uid = 0, before_gid = 0;  // to be its owner again
  std::string describe() const;
  TakeFileBack undo() const { return {.path = path, .uid = before_uid, .gid = before_gid}; }
  TakeFileBack precheck(PerformContext& context) const;
  void perform(PerformContext& context) const;
  friend bool operator==(const GiveFile&, const GiveFile&) = default;
};
BOOST_DESCRIBE_STRUCT(GiveFile, (), (path, uid, gid, before_uid, before_gid))

}  // namespace launcher::steps
