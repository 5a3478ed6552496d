// `vmrun list`: what runs here; with --all also what ran, and how it ended.
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <ctime>

#include "launcher/commands/commands.hpp"
#include "launcher/commands/elsewhere.hpp"
#include "launcher/commands/inputs.hpp"
#include "launcher/commands/output.hpp"
#include "launcher/commands/summary.hpp"
#include "launcher/life/run_record.hpp"
#include "launcher/text/printable.hpp"

namespace launcher::commands {

namespace {

std::string huge_pages_text(const topology::Reservation& held) {
  std::string text;
  for (const topology::PageClaim& claim : held.pages)
    if (claim.huge())
      text +=
          fmt::format("{}{} x {} on node {}", text.empty() ? "" : ", ", claim.pages, to_string(claim.page), claim.node);
  return text.empty() ? "-" : text;
}

std::string since_text(std::int64_t since) {
  return since == 0 ? "-" : fmt::format("{:%Y-%m-%d %H:%M}", fmt::localtime(static_cast<std::time_t>(since)));
}

// The last run of each VM that does not run.
std::vector<RunRecord> ended_vms(const Options& options, const std::vector<VmDir>& running) {
  std::vector<RunRecord> ended;
  const std::filesystem::path base = state_base(host_config_or_throw(options));
  for (const std::string& name : recorded_names(base)) {
    if (std::ranges::any_of(running, [&](const VmDir& dir) { return dir.name() == name; })) continue;
    const std::vector<RunRecord> records = read_records(runs_directory(base, name));
    if (!records.empty()) ended.push_back(records.back());
  }
  return ended;
}

boost::json::object ended_json(const RunRecord& record) {
  return {{"name", record.name},           {"phase", "ended"},     {"how", record.how}, {"reason", ending_of(record)},
          {"exit_code", record.exit_code}, {"since", record.ended}};
}

boost::json::array list_json(const std::vector<VmDir>& dirs, const std::vector<RunRecord>& ended) {
  boost::json::array out;
  for (const VmDir& dir : dirs) out.push_back(summary(dir));
  for (const RunRecord& record : ended) out.push_back(ended_json(record));
  return out;
}

std::string running_text(const std::vector<VmDir>& dirs) {
  std::string text = fmt::format("{:<20} {:<9} {:>8} {:>5} {:>7} {:<16} {:<21} {:<14} {:<20} {}\n", "NAME", "PHASE",
                                 "QEMU", "VCPUS", "MEMORY", "SINCE", "ADDRESS", "CPUS", "HUGE PAGES", "SPEC");
  for (const VmDir& dir : dirs) {
    const State state = dir.read_state();
    const topology::Reservation held = dir.reservation();
    const Given given = given_to(dir);
    const auto or_dash = [](const std::string& word) { return word.empty() ? std::string("-") : printable(word); };
    text += fmt::format("{:<20} {:<9} {:>8} {:>5} {:>7} {:<16} {:<21} {:<14} {:<20} {}\n", dir.name(),
                        phase_of(dir, state), state.qemu ? std::to_string(state.qemu->pid) : "-", given.vcpus,
                        to_string(given.memory), since_text(state.since), or_dash(given.address),
                        or_dash(held.cpus.to_string()), huge_pages_text(held), or_dash(given.spec));
  }
  return text;
}

std::string ended_text(const std::vector<RunRecord>& ended) {
  std::string text;
  for (const RunRecord& record : ended)
    text += fmt::format("{:<20} {:<9} {:>8} {}\n", printable(record.name), "ended", "-", printable(ending_of(record)));
  return text;
}

// Those of others are not ours to list in full, and not to be kept quiet about either.
void tell_of_others() {
  for (const OtherVm& other : vms_elsewhere())
    say(fmt::format("VM {} is {}'s: `{} ...` reaches it", printable(other.name), other.whose, other.reach));
}

}  // namespace

int list(const Options& options) {
  const std::vector<VmDir> dirs = VmDir::all(run_base());
  const std::vector<RunRecord> ended = options.flag("all") ? ended_vms(options, dirs) : std::vector<RunRecord>{};
  if (options.flag("json")) {
    print_json(list_json(dirs, ended));
    return done;
  }
  print((dirs.empty() && ended.empty() ? "no VM runs here\n" : running_text(dirs)) + ended_text(ended));
  tell_of_others();
  return done;
}

}  // namespace launcher::commands
