// A QEMU command line on its way to a spec. The rule: whoever reads a part of an option tells what became of it; a part that nobody told
// is looked up in the table of parts (argv_table.cpp), and one that is not there either is reported as unknown.
#pragma once

#include <deque>
#include <expected>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "launcher/devices/qemu_members.hpp"
#include "launcher/import/argv_words.hpp"
#include "launcher/import/report.hpp"
#include "launcher/import/spec_text.hpp"
#include "launcher/import/walk.hpp"

namespace launcher::inline import {

// One option with its value, and what became of each part of it.
class ArgvOption {
 public:
  ArgvOption(std::string name, std::string value, bool has_value, unsigned line);

  const std::string name;   // "device"; -M is "machine"
  const std::string value;  // whole
  const unsigned line;
  Members members;  // {"driver", "virtio-net-pci"}, ...; of a plain text one, {"", "..."}

  const std::string& kind() const { return kind_; }  // of a device, object and so on: "virtio-net-pci"
  bool has(std::string_view key) const;
  std::string get(std::string_view key) const { return member(members, key); }
  bool is(std::string_view key, std::string_view text) const { return has(key) && get(key) == text; }
  bool on(std::string_view key) const;  // on, yes, true, 1
  std::optional<std::uint64_t> number(std::string_view key) const { return number_of(get(key)); }

  void tell(std::string_view key, Verb verb, const std::string& words);  // where it is there; the worst verb stays
  void kept(std::string_view key, const std::string& where) { tell(key, Verb::kept, where); }
  void kept_if(bool good, std::string_view key, const std::string& where, const std::string& otherwise) {
    tell(key, good ? Verb::kept : Verb::dropped, good ? where : otherwise);
  }
  void tell_rest(Verb verb, const std::string& words);  // all that has not been told
  bool told() const { return !told_.empty(); }
  bool broken() const { return broken_; }  // JSON that cannot be read
  void refuse(const std::string& words) { told_.insert_or_assign(0, Told{Verb::refused, words}); }
  Members add(
      const std::string& text);  // another value of the same option; returns the parts that it takes the place of
  void report_to(Report& report) const;

 private:
  struct Told {
    Verb verb;
    std::string words;
  };
  std::string kind_;
  bool broken_ = false;
  std::map<std::size_t, Told> told_;  // by place among the members
};

// Where a disk's bytes are and how they are read, of a -drive or of a chain of -blockdev.
struct ArgvSource {
  std::vector<ArgvOption*> parts = {};
  std::string path = {}, format = {};
  bool is_cdrom = false, read_only = false, empty = false;
  std::string refusal = {};  // why vmrun cannot open it
};

class ArgvWalk {
 public:
  ArgvWalk(const QemuCall& call, const ImportOptions& asked);

  const ImportOptions& options;
  std::deque<ArgvOption> all;
  SpecText spec;
  std::uint64_t vcpus = 1;
  bool tcg = true, defaults = true;  // -nodefaults is not there
  bool sata_full() const { return spec.count("cdrom") + sata_disks >= 6; }
  unsigned sata_disks = 0;
  std::vector<std::tuple<std::uint64_t, std::string, std::string>> boots;  // index, table, handle
  std::string variables;                                                   // UEFI's, as a file

  ArgvOption* find(std::string_view name, std::string_view key = {}, std::string_view value = {});
  ArgvOption* by_id(std::string_view name, std::string_view id);  // its id or node-name
  std::vector<ArgvOption*> every(std::string_view name);
  void missing(const std::string& path, Verb verb, const std::string& words) {
    missing_.push_back({path, 0, "", verb, words, true});
  }
  void stray(const ShellWord& word, Verb verb, const std::string& words) {
    strays_.push_back({"\"" + word.text + "\"", word.line, "", verb, words});
  }
  Report finish();

 private:
  Report missing_, strays_;
};

struct ArgvRow {
  const char* path;  // "device/*/bus", "sandbox/**"
  Verb verb;
  const char* words;
};
const ArgvRow* find_argv_row(const std::string& name, const std::string& kind, const std::string& key);

// In this order, for later ones look at what earlier ones have told.
void argv_general(ArgvWalk& walk);  // name, uuid, accelerator, machine, clock
void argv_cpu(ArgvWalk& walk);      // -cpu, -smp
void argv_memory(ArgvWalk& walk);   // -m, memory backends, -numa
bool has_cells(ArgvWalk& walk);     // two nodes or more: [[numa]] says them
void argv_cells(ArgvWalk& walk);    // called by it
std::optional<std::uint64_t> qemu_size(std::string_view text,
                                       std::uint64_t unit);  // "4096" (of the unit), "4G", "512M"
void argv_firmware(ArgvWalk& walk);                          // -bios, flash, -kernel, -boot
void argv_disks(ArgvWalk& walk);
void argv_networks(ArgvWalk& walk);
void argv_screen(ArgvWalk& walk);   // display, console, sockets of their own
void argv_devices(ArgvWalk& walk);  // what else hangs on the board
void argv_rest(ArgvWalk& walk);     // what goes to extra_args, and defaults

// Disks, for argv_disk.cpp.
ArgvSource source_of(ArgvWalk& walk, const std::string& id);  // of a drive's id or a node's name
ArgvSource source_of_drive(ArgvOption& drive);
void write_host_side(ArgvWalk& walk, ArgvSource& source, const std::string& handle, bool write_cache);

std::expected<Imported, std::string> import_argv(std::string_view text, const ImportOptions& options);

}  // namespace launcher::import
