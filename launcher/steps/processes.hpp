// Steps that start a process, join two, or end one: QEMU, the helpers beside it, qemu-img. The rule: the step that ends it is
// in the journal before it execs.
#pragma once

#include <boost/mp11/algorithm.hpp>
#include <string>
#include <vector>

#include "launcher/host/process.hpp"
#include "topology/bytes.hpp"

namespace launcher::inline steps {

struct PerformContext;

// A new image in a file that has no name, so that it goes with its last fd, whatever becomes of us: an overlay never gets
// one, a disk.create image its own when the guest is about to run. Written by qemu-img, opened for QEMU.
struct MakeImage {
  std::string directory;
  std::string name;  // within it; "": an overlay
  std::string format;
  topology::Bytes size;
  std::string preallocation;  // as qemu-img's
  std::string qemu_img;
  std::string log;  // its stdout and stderr
  int fd = -1;
  bool direct = false;  // as in OpenFile
  friend bool operator==(const MakeImage&, const MakeImage&) = default;
};
struct Pair {  // a connected pair of unix stream sockets, one end each for two processes
  int fd = -1;
  int other = -1;
  friend bool operator==(const Pair&, const Pair&) = default;
};
struct HandedFd {
  int number = -1;   // the helper's
  int planned = -1;  // the plan's, which is then not passed to QEMU
  friend bool operator==(const HandedFd&, const HandedFd&) = default;
};
// A process that serves the guest beside QEMU (virtiofsd, swtpm, passt). It is ours to end, whatever becomes of QEMU.
struct StartHelper {
  std::string role;  // "virtiofsd share0": shown by `show`, and its log is helper-ROLE.log
  ChildSpec child;
  std::vector<HandedFd> fds;
  std::string log;  // its stdout and stderr
  friend bool operator==(const StartHelper&, const StartHelper&) = default;
};
struct StartQemu {
  ChildSpec child;
  int monitor_fd = -1;  // child's end of our private QMP socketpair
  std::string log;      // QEMU's stdout and stderr
  friend bool operator==(const StartQemu&, const StartQemu&) = default;
};
struct EndProcess {
  ProcessId process;
  friend bool operator==(const EndProcess&, const EndProcess&) = default;
};

template <class T>
concept ProcessStep =
    boost::mp11::mp_contains<boost::mp11::mp_list<MakeImage, Pair, StartHelper, StartQemu, EndProcess>, T>::value;

std::string describe(const MakeImage& step);
std::string describe(const Pair& step);
std::string describe(const StartHelper& step);
std::string describe(const StartQemu& step);
std::string describe(const EndProcess& step);

void perform(const MakeImage& step, PerformContext& context);
void perform(const Pair& step, PerformContext& context);
void perform(const StartHelper& step, PerformContext& context);
void perform(const StartQemu& step, PerformContext& context);
void perform(const EndProcess& step, PerformContext& context);

}  // namespace launcher::inline steps
