// All that decides a run, as one value: what was asked, what became of it, with which bytes, on which host. The rule: the same
// spec on the same host gives the same bytes; nothing in it names the host unless that was asked for.
#pragma once

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <expected>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "launcher/record/fact.hpp"
#include "launcher/record/identity.hpp"

namespace launcher::inline record {

// A file whose bytes decide something.
struct LockedFile {
  std::string path;
  std::string role;       // "disk[0].path", "boot.kernel", "qemu", "helper passt"
  std::string use;        // "read-only", "below an overlay", "written", "program"
  std::string algorithm;  // of its digest; "" where that cannot be told, and then digest says why
  std::string digest;
  friend bool operator==(const LockedFile&, const LockedFile&) = default;
};

// One run's own part of a record; a lock has none.
struct RunPart {
  std::int64_t started = 0;      // unix seconds
  boost::json::array in_effect;  // of each promise: what was wanted, what is, where it was read (as `verify`)
  boost::json::value guest_cpu;  // the words of CPUID that the guest has, by QEMU; null where it does not say
};

struct LaunchLock {
  std::string name;
  std::string spec;          // TOML, after includes and --set; "" where only the plan is on record
  boost::json::object plan;  // what decides, of a LaunchPlan: accelerator, placement, priorities, groups ...
  boost::json::array argv;
  boost::json::array steps;
  std::vector<LockedFile> files;  // by path
  Groups facts;
  std::vector<Effective> effective;
  std::vector<std::string> allowed;  // groups in which `replay --allow` let a drift pass
  std::optional<RunPart> run;
};

// disk[...] and nvdimm[...]
bool is_image(const LockedFile& file);
// What these lie on, of those that are images: "scheduler of disk[0].path".
Values storage_facts(const topology::Sysfs& root, const std::vector<LockedFile>& files);
// How the host's network cards are set that this VM's packets leave by: "rings of net[0]".
Values card_facts(const topology::Sysfs& root, const boost::json::object& plan);

// Told as files are read, and once for each that had to be.
struct LockTelling {
  IdentityProgress progress;
  std::function<void(const LockedFile&, const Identity&)> identified;
};

// plan: as LaunchPlan is written as JSON (plan.json of a running VM is one).
LaunchLock make_lock(const std::string& spec, const boost::json::object& plan, const HostSource& source,
                     const LockTelling& telling);

// in-toto Statement v1, one key a line, sorted; and back. Error: what is wrong with it, for a person.
std::string to_document(const LaunchLock& lock);
std::expected<LaunchLock, std::string> lock_from_document(std::string_view text);

constexpr int lock_version = 1;
constexpr std::string_view statement_type = "https://in-toto.io/Statement/v1";
constexpr std::string_view lock_predicate = "urn:x-vmrun:launch:v1";

}  // namespace launcher::record
