// A walk over a domain: what each path becomes, told once. The rule: whoever reads a leaf tells what became of it; a leaf that nobody told
// is looked up in the table of paths (paths.cpp), and one that is not there either is reported as unknown.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "launcher/import/report.hpp"
#include "launcher/import/spec_text.hpp"
#include "launcher/import/xml.hpp"

namespace launcher::inline import {

struct ImportOptions {
  bool adopt_state = false;    // UEFI variables and the TPM's memory are copied by the caller
  std::string tpm_state = {};  // where swtpm has it; "": where libvirt keeps it, of a domain
  bool replace_pins = false;   // cpu.pin = "auto" in the place of pins
  // What virsh says of a network of that name, as XML; "" where nobody was asked, or there is none.
  std::function<std::string(const std::string&)> network = {};
};

class Walk;

// An attribute or an element's text, there or not.
class Leaf {
 public:
  Leaf(Walk& walk, const XmlElement* element, std::string attribute, std::string path, const std::string* value)
      : walk_(&walk), element_(element), attribute_(std::move(attribute)), path_(std::move(path)), value_(value) {}

  bool there() const { return value_ != nullptr; }
  const std::string& value() const;  // "" where it is not there
  bool is(std::string_view text) const { return there() && value() == text; }
  bool on() const { return is("on") || is("yes"); }
  std::optional<std::uint64_t> number() const;

  // Once it is there: a row. Not there: nothing.
  void tell(Verb verb, const std::string& words) const;
  void kept(const std::string& key) const { tell(Verb::kept, key); }
  // A row also when it is not there: a default of libvirt's that the spec now says, or that changed.
  void tell_default(Verb verb, const std::string& words) const;
  // kept where it is one of these, else dropped with the words
  void kept_if(bool good, const std::string& key, const std::string& otherwise) const {
    tell(good ? Verb::kept : Verb::dropped, good ? key : otherwise);
  }

 private:
  Walk* walk_;
  const XmlElement* element_;
  std::string attribute_, path_;
  const std::string* value_;
};

class Walk {
 public:
  Walk(const XmlElement& domain, const ImportOptions& asked) : root(domain), options(asked) {}

  const XmlElement& root;
  const ImportOptions& options;
  SpecText spec;
  unsigned vcpus = 1;
  bool tcg = false;  // accel = "tcg": KVM's own services are none of it
  std::vector<std::pair<std::uint64_t, std::string>> boot_order = {};  // order, handle of a disk, drive or card
  unsigned sata_disks = 0;
  bool sata_full() const { return spec.count("cdrom") + sata_disks >= 6; }  // the ports of the board's controller
  std::map<std::string, std::string> pools = {};                            // of iothreads, by libvirt's number

  Leaf at(const XmlElement& element, std::string_view way);  // "driver/@cache", "source", "@type", "" (its text)
  Leaf at(std::string_view way) { return at(root, way); }

  void tell(const XmlElement& element, const std::string& attribute, Verb verb, const std::string& words);
  void tell_missing(const std::string& path, Verb verb, const std::string& words);
  // Everything at and below the element that has not been told.
  void tell_all(const XmlElement& element, Verb verb, const std::string& words);
  Report finish();  // every leaf, in document order; those that nobody told by the table of paths

 private:
  friend class Leaf;
  struct Told {
    Verb verb;
    std::string words;
  };
  void collect(const XmlElement& element, Report& report) const;
  std::map<std::pair<const XmlElement*, std::string>, Told> told_;
  Report missing_;
};

// The table of paths. verb and words: of leaves that no function tells; function: for elements, called once for each.
struct PathRow {
  const char* path;  // "devices/disk", "devices/disk/driver/@cache"; "x/**": x and all below
  void (*function)(Walk&, const XmlElement&) = nullptr;
  Verb verb = Verb::dropped;
  const char* words = "";
};
const std::vector<PathRow>& path_table();
const PathRow* find_path(std::string_view path);  // the longest that fits; nullptr: unknown

// --- the functions of the table ---
void import_name(Walk&, const XmlElement&);
void import_uuid(Walk&, const XmlElement&);
void import_notes(Walk&, const XmlElement&);
void import_metadata(Walk&, const XmlElement&);
void import_memory(Walk&, const XmlElement&);
void import_current_memory(Walk&, const XmlElement&);
void import_max_memory(Walk&, const XmlElement&);
void import_backing(Walk&, const XmlElement&);
void import_numatune(Walk&, const XmlElement&);
void import_vcpu(Walk&, const XmlElement&);
void import_cputune(Walk&, const XmlElement&);
void import_iothreads(Walk&, const XmlElement&);
void import_os(Walk&, const XmlElement&);
void import_sysinfo(Walk&, const XmlElement&);
void import_cpu(Walk&, const XmlElement&);
void import_default_model(Walk&);  // cpu.model, where no other is named
void import_features(Walk&, const XmlElement&);
void import_clock(Walk&, const XmlElement&);
void import_pm(Walk&, const XmlElement&);
void import_crash(Walk&, const XmlElement&);
void import_genid(Walk&, const XmlElement&);
void import_commandline(Walk&, const XmlElement&);
void import_disk(Walk&, const XmlElement&);
void import_cdrom(Walk&, const XmlElement&);  // called by it
void import_interface(Walk&, const XmlElement&);
void import_filesystem(Walk&, const XmlElement&);
void import_hostdev(Walk&, const XmlElement&);
void import_serial(Walk&, const XmlElement&);
void import_channel(Walk&, const XmlElement&);
void import_input(Walk&, const XmlElement&);
void import_graphics(Walk&, const XmlElement&);
void import_tpm(Walk&, const XmlElement&);
void import_watchdog(Walk&, const XmlElement&);
void import_memballoon(Walk&, const XmlElement&);
void import_rng(Walk&, const XmlElement&);
void import_vsock(Walk&, const XmlElement&);
void import_audio(Walk&, const XmlElement&);
void import_panic(Walk&, const XmlElement&);
void import_memory_device(Walk&, const XmlElement&);

// What is not there, and so has a default of libvirt's, after all else.
void import_defaults(Walk&);
void import_boot_order(Walk&);
void import_cells(Walk&);
bool is_memory_policy(std::string_view mode);  // "strict", "preferred" or "interleave"; "restrictive" is none of QEMU's
bool has_cells(const Walk&);                   // two or more: [[numa]] says them
// Of the guest's nodes where it has any, else all but what is plugged; DIMMs and what is in use of virtio-mem are there from the start.
std::optional<std::uint64_t> memory_at_start(Walk&);

// --- libvirt's ways to write values ---
std::optional<std::uint64_t> number_of(std::string_view text);  // decimal, or 0x...
// "KiB" (also ""), "k", "MB", "bytes" ...: nullopt: no unit of libvirt's, or too much
std::optional<std::uint64_t> scaled(std::uint64_t value, std::string_view unit);
std::optional<std::uint64_t> size_of(const Leaf& value, const Leaf& unit);  // KiB where there is no unit
bool is_file_path(std::string_view path);                                   // absolute
bool is_interface_name(const std::string& name);
// A bound that is so many times what is there is one of the address space, and no plan: vmrun would claim all of it at the start.
constexpr std::uint64_t most_growth = 8;
constexpr const char* no_growth =
    "so much is only a bound, and vmrun claims all of memory.max at the start: set it to what the guest may really get";
constexpr std::uint64_t mebi = 1 << 20;
constexpr std::uint64_t rounded_up(std::uint64_t value, std::uint64_t step) { return (value + step - 1) / step * step; }

// --- the whole ---
struct Imported {
  std::string spec;  // TOML; "" where something is refused
  std::string name;
  Report report;
  struct State {
    std::string variables;  // the NVRAM's file; "": none is named
    std::string tpm;        // the directory of swtpm's state, by libvirt's own rule; "": no TPM
  } state;
};
// Its name and text, by our own checks, so that no spec is written that would not be read; where something is refused, none is.
void complete(Imported& imported, const SpecText& spec);
std::string name_of_vm(std::string_view text);  // what of it a VM can be called
std::expected<Imported, std::string> import_domain(std::string_view xml, const ImportOptions& options);

}  // namespace launcher::import
