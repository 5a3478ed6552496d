// What a fake QEMU was started with: the part of QEMU's command line that vmrun writes, and how it is to misbehave.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace fake_qemu {

struct Monitor {
  int fd = -1;
  bool listening = false;  // server=on: clients come by accept(2)
};

struct Options {
  std::vector<Monitor> monitors;  // of -qmp chardev:ID over a -chardev socket,fd=
  std::vector<int> fds;           // of -add-fd, -chardev and -netdev: must be open, as for QEMU
  unsigned vcpus = 1;
  std::vector<std::string> iothreads;        // ids
  std::vector<std::string> thread_contexts;  // ids
  unsigned vhost_workers = 0;                // one per vhostfd, as threads of ours (Linux 6.4 and later)
  std::string name;
  std::string cpu;      // -cpu, as it is
  bool paused = false;  // -S
  bool kvm = false;
  bool version = false;  // --version
  int powerdown_ms = 0;  // --powerdown-ms: how long the guest takes to power down
};

// Throws std::runtime_error with what QEMU would print after its name.
Options read_options(const std::vector<std::string>& arguments);

// FAKE_QEMU=word[=value],...
//   garbage half-line huge-line silence          instead of the greeting (half-line then closes the connection)
//   early-exit                                   exit 1 with a message on stderr before anything else
//   exit-after-greeting                          the same after the greeting: what QEMU does about a bad -device
//   wrong-id[=COMMAND]                           all replies, or those to COMMAND
//   die-after=COMMAND                            exit 1 after its reply
//   event-flood[=N|forever]                      N events (1000000) before the first reply after the handshake
//   slow=MS                                      before every reply
//   missing-vcpu shuffle-vcpus                   in query-cpus-fast: the last is missing; in reverse
//   lacks=FEATURE                                a CPU feature that is filtered, whatever -cpu says
//   ignore-powerdown ignore-quit ignore-term     answered (or received), but not done
//   late-recovery=MS                             KVM's thread for huge pages comes this long after cont
//   talks=BYTES                                  so much on stderr after cont, and "my last words" at the end
//   powerdown-ms=MS                              as --powerdown-ms
using Behaviour = std::map<std::string, std::string>;
Behaviour read_behaviour(const char* environment);  // nullptr: none. Throws std::runtime_error on an unknown word

}  // namespace fake_qemu
