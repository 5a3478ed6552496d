// Steps that make files in memory for the guest alone, and the keys it is reached by. The rule: what is secret is read when the step
// is done, from the file that has it; a plan says from where, and no argument, record or disk has it in clear.
#pragma once

#include <boost/describe/class.hpp>
#include <string>
#include <vector>

#include "topology/bytes.hpp"
#include "topology/cpu_set.hpp"
#include "topology/placement.hpp"

namespace launcher::inline steps {

struct PerformContext;

// Text as it is, or what a file holds then.
struct TextPart {
  std::string text;
  std::string file = {};  // "": the text
  std::string as = {};    // what is between the quotes of a JSON string: "json"; "base64"; "": the bytes as they are
  friend bool operator==(const TextPart&, const TextPart&) = default;
};
BOOST_DESCRIBE_STRUCT(TextPart, (), (text, file, as))

// The huge pages of one of the guest's nodes, on one node of the host: claimed, and filled once QEMU is started
struct MakeGuestMemory {
  static constexpr const char* kind = "make_guest_memory";
  std::string id;  // of QEMU's object: "ram0"
  topology::Bytes size, page;
  unsigned node = 0;
  topology::MemoryPolicy policy = topology::MemoryPolicy::strict;  // strict or preferred
  topology::CpuSet cpus;                                           // of the threads that fill it
  unsigned threads = 1;
  int fd = -1;
  std::string describe() const;
  void perform(PerformContext& context) const;
  friend bool operator==(const MakeGuestMemory&, const MakeGuestMemory&) = default;
};
BOOST_DESCRIBE_STRUCT(MakeGuestMemory, (), (id, size, page, node, policy, cpus, threads, fd))

// An open file that nothing but its holders can read: sealed, without a name
struct MakeMemoryFile {
  static constexpr const char* kind = "make_memory_file";
  std::string what;  // "credential ssh.authorized_keys.root"
  std::vector<TextPart> parts;
  int fd = -1;
  std::string describe() const;
  void perform(PerformContext& context) const;
  friend bool operator==(const MakeMemoryFile&, const MakeMemoryFile&) = default;
};
BOOST_DESCRIBE_STRUCT(MakeMemoryFile, (), (what, parts, fd))

struct SeedFile {
  std::string name;
  std::vector<TextPart> parts;
  friend bool operator==(const SeedFile&, const SeedFile&) = default;
};
BOOST_DESCRIBE_STRUCT(SeedFile, (), (name, parts))

// The same of a volume of files, by its label
struct MakeVolume {
  static constexpr const char* kind = "make_volume";
  std::string label;
  std::vector<SeedFile> files;
  int fd = -1;
  std::string describe() const;
  void perform(PerformContext& context) const;
  friend bool operator==(const MakeVolume&, const MakeVolume&) = default;
};
BOOST_DESCRIBE_STRUCT(MakeVolume, (), (label, files, fd))

// The VM's own pair of keys, the pair of its sshd, and what ssh(1) has to know of the latter; kept between runs
struct KeepSshKeys {
  static constexpr const char* kind = "keep_ssh_keys";
  std::string directory;   // id, id.pub, host_key, host_key.pub, known_hosts
  std::string vm;          // the comment of the keys, and the name of the host
  std::string user;        // who is reached by them in the guest
  std::string ssh_keygen;  // the program
  std::string describe() const;
  void perform(PerformContext& context) const;
  friend bool operator==(const KeepSshKeys&, const KeepSshKeys&) = default;
};
BOOST_DESCRIBE_STRUCT(KeepSshKeys, (), (directory, vm, user, ssh_keygen))

std::string ssh_alias(const std::string& vm);  // the name that known_hosts has for it

}  // namespace launcher::steps
