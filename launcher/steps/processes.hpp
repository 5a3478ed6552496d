// Steps that start a process, join two, or end one: QEMU, the helpers beside it, qemu-img. The rule: the step that ends it is
// in the journal before it execs.
#pragma once

#include <boost/describe/class.hpp>
#include <string>
#include <vector>

#include "launcher/host/process.hpp"
#include "topology/bytes.hpp"

namespace launcher::inline steps {

struct PerformContext;
struct UndoContext;

// A new image in a file that has no name, so that it goes with its last fd, whatever becomes of us: an overlay never gets
// one, a disk.create image its own when the guest is about to run. Written by qemu-img, opened for QEMU.
struct MakeImage {
  static constexpr const char* kind = "make_image";
  std::string directory;
  std::string name;  // within it; "": an overlay
  std::string format;
  topology::Bytes size;
  std::string preallocation;  // as qemu-img's
  std::string qemu_img;
  std::string log;  // its stdout and stderr
  int fd = -1;
  bool direct = false;  // as in OpenFile
  std::string describe() const;
  void perform(PerformContext& context) const;
  friend bool operator==(const MakeImage&, const MakeImage&) = default;
};
BOOST_DESCRIBE_STRUCT(MakeImage, (), (directory, name, format, size, preallocation, qemu_img, log, fd, direct))

// A connected pair of unix stream sockets, one end each for two processes
struct Pair {
  static constexpr const char* kind = "pair";
  int fd = -1;
  int other = -1;
  std::string describe() const;
  void perform(PerformContext& context) const;
  friend bool operator==(const Pair&, const Pair&) = default;
};
BOOST_DESCRIBE_STRUCT(Pair, (), (fd, other))

struct HandedFd {
  int number = -1;   // the helper's
  int planned = -1;  // the plan's, which is then not passed to QEMU
  friend bool operator==(const HandedFd&, const HandedFd&) = default;
};
BOOST_DESCRIBE_STRUCT(HandedFd, (), (number, planned))

// A process that serves the guest beside QEMU (virtiofsd, swtpm, passt). It is ours to end, whatever becomes of QEMU.
struct StartHelper {
  static constexpr const char* kind = "start_helper";
  std::string role;  // "virtiofsd share0": shown by `show`, and its log is helper-ROLE.log
  ChildSpec child;
  std::vector<HandedFd> fds;
  std::string log;  // its stdout and stderr
  std::string describe() const;
  void perform(PerformContext& context) const;
  friend bool operator==(const StartHelper&, const StartHelper&) = default;
};
BOOST_DESCRIBE_STRUCT(StartHelper, (), (role, child, fds, log))

struct StartQemu {
  static constexpr const char* kind = "start_qemu";
  ChildSpec child;
  int monitor_fd = -1;  // child's end of our private QMP socketpair
  std::string log;      // QEMU's stdout and stderr
  std::string describe() const;
  void perform(PerformContext& context) const;
  friend bool operator==(const StartQemu&, const StartQemu&) = default;
};
BOOST_DESCRIBE_STRUCT(StartQemu, (), (child, monitor_fd, log))

struct EndProcess {
  static constexpr const char* kind = "end_process";
  ProcessId process;
  std::string describe() const;
  void perform(UndoContext& context) const;
  friend bool operator==(const EndProcess&, const EndProcess&) = default;
};
BOOST_DESCRIBE_STRUCT(EndProcess, (), (process))

}  // namespace launcher::steps
