#include "launcher/commands/locking.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json/object.hpp>
#include <set>

#include "launcher/commands/inputs.hpp"
#include "launcher/commands/output.hpp"
#include "launcher/host/linux_host.hpp"
#include "launcher/plan/json.hpp"
#include "topology/read_host.hpp"
#include "topology/text_file.hpp"

namespace launcher::commands {

namespace {

std::string how_known(const Identity& identity) {
  if (identity.algorithm == "size") return "a block device: only its size is on record, its bytes are not looked at";
  if (identity.algorithm.starts_with("fsverity")) return "by its fs-verity digest";
  if (identity.cached) return "by its content, which was read before and has not changed since";
  return fmt::format("by its content, of which {} were read", to_string(topology::Bytes{identity.read}));
}

// Whether this drift alone keeps the VM from being started.
bool is_refused(const Drift& drift, const std::vector<std::string>& allow) {
  return drift.grade != Grade::cosmetic && std::ranges::find(allow, drift.group) == allow.end();
}

}  // namespace

World dry_world(Host& host, const HostConfig& config) { return this_world(host, config, Cache::read_only); }

std::string whole_spec(const SpecFile& file) {
  const std::vector<KeyInfo> keys = spec_keys();
  const bool named = file.document.values(keys).contains("name");
  return (named ? "" : fmt::format("name = \"{}\"\n", file.spec.name)) + file.document.merged(keys);
}

LockTelling lock_telling(bool by_name) {
  LockTelling telling;
  const bool terminal = isatty(STDERR_FILENO) != 0;
  if (terminal)
    telling.progress = [](const std::string& path, std::uint64_t done, std::uint64_t whole) {
      constexpr std::uint64_t now_and_then = std::uint64_t{64} << 20;
      if (done % now_and_then == 0 || done == whole)
        progress(done == whole ? ""
                               : fmt::format("reading {}: {} of {}", path, to_string(topology::Bytes{done}),
                                             to_string(topology::Bytes{whole})));
    };
  if (by_name)
    telling.identified = [](const LockedFile& file, const Identity& identity) {
      if (file.role.starts_with("disk") || file.role.starts_with("nvdimm"))
        say(fmt::format("{}: {} is known {}", file.role, file.path, how_known(identity)));
    };
  return telling;
}

Naming naming_of(const Options& options) { return options.flag("identity") ? Naming::shown : Naming::hidden; }

LaunchLock lock_of_plan(const std::string& spec, const boost::json::object& plan, Naming naming,
                        const LockTelling& telling) {
  const auto host = topology::read_this_host(topology::Devices::skip);
  if (!host) throw std::runtime_error("cannot read this host: " + host.error());
  const topology::Sysfs root;
  return make_lock(spec, plan, {root, *host, naming}, telling);
}

std::optional<LaunchLock> lock_of_spec(const SpecFile& file, const Options& options, const LockTelling& telling) {
  LinuxHost machine;
  World world = dry_world(machine, host_config_or_throw(options));
  const auto planned = plan_only(file.spec, world, Ledger::read);
  if (!planned) {
    print_problems(planned.error(), &file.document, options.flag("json"));
    return std::nullopt;
  }
  return lock_of_plan(whole_spec(file), plan_json(planned->plan).as_object(), naming_of(options), telling);
}

LaunchLock read_lock(const std::string& path) {
  const auto text = topology::read_text_file(path);
  if (!text) throw UsageError(fmt::format("{}: {}", path, text.error()));
  auto lock = lock_from_document(*text);
  if (!lock) throw UsageError(fmt::format("{}: {}", path, lock.error()));
  return std::move(*lock);
}

std::optional<SpecFile> spec_of_lock(const LaunchLock& lock, const std::string& path, const Options& options) {
  if (lock.spec.empty())
    throw UsageError(fmt::format("{} has no spec: it was made of a VM that ran, and can only be compared", path));
  auto document = TomlDocument::parse(lock.spec, path + " (its spec)");
  if (!document) {
    print_problems(document.error().problems, &document.error().document, options.flag("json"));
    return std::nullopt;
  }
  Problems problems;
  Spec spec = read_document(*document, problems);
  if (!problems.empty()) {
    print_problems(problems, &*document, options.flag("json"));
    return std::nullopt;
  }
  return SpecFile{std::move(spec), std::move(*document)};
}

std::optional<Expected> expected_of(const Options& options, const std::string& path) {
  const std::vector<std::string> groups = drift_groups(), allow = options.all("allow");
  for (const std::string& group : allow)
    if (std::ranges::find(groups, group) == groups.end())
      throw UsageError(
          fmt::format("--allow {}: there is no such group; there are: {}", group, fmt::join(groups, ", ")));
  return Expected{read_lock(path), path, allow};
}

std::vector<std::string> check_drift(const Expected& expected, const LaunchLock& now) {
  Comparison found = compare(expected.lock, now);
  if (std::ranges::any_of(found.drifts, [&](const Drift& drift) { return is_refused(drift, expected.allow); }))
    throw Drifted(expected.path, std::move(found));
  std::set<std::string> passed;
  for (const Drift& drift : found.drifts) {
    if (drift.grade == Grade::cosmetic) continue;
    passed.insert(drift.group);
    say(fmt::format("allowed: {}: {} was '{}', is '{}' ({})", drift.group, drift.name, drift.was, drift.is,
                    words_of(drift.grade)));
  }
  return {passed.begin(), passed.end()};
}

void print_drift(const Drifted& drifted, bool json) {
  if (json) {
    print_json({{"version", 1}, {"event", "refused"}, {"drifts", drifts_json(drifted.found.drifts)}});
    return;
  }
  std::set<std::string> groups;
  for (const Drift& drift : drifted.found.drifts)
    if (drift.grade != Grade::cosmetic) groups.insert(drift.group);
  complain(drifts_text(drifted.found));
  say(
      fmt::format("{}: nothing was started\nhelp: put back what differs, or make a new lock; `--allow {}` lets a group "
                  "pass, and the new record says so",
                  drifted.what(), fmt::join(groups, " --allow ")));
}

}  // namespace launcher::commands
