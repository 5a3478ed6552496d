// `vmrun list`: what runs here.
#include <fmt/format.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "launcher/commands/commands.hpp"
#include "launcher/commands/output.hpp"
#include "launcher/commands/summary.hpp"

namespace launcher::commands {

namespace {

std::string pages_text(const topology::Reservation& held) {
  std::string text;
  for (const topology::PageClaim& claim : held.pages)
    text +=
        fmt::format("{}{} x {} on node {}", text.empty() ? "" : ", ", claim.pages, to_string(claim.page), claim.node);
  return text.empty() ? "-" : text;
}

}  // namespace

int list(const Options& options) {
  const std::vector<VmDir> dirs = VmDir::all(run_base());
  if (options.flag("json")) {
    boost::json::array out;
    for (const VmDir& dir : dirs) out.push_back(summary(dir));
    print_json(out);
    return done;
  }
  if (dirs.empty()) {
    print("no VM runs here\n");
    return done;
  }
  std::string text = fmt::format("{:<20} {:<9} {:>8} {:<14} {}\n", "NAME", "PHASE", "QEMU", "CPUS", "HUGE PAGES");
  for (const VmDir& dir : dirs) {
    const State state = dir.read_state();
    const topology::Reservation held = dir.reservation();
    text += fmt::format("{:<20} {:<9} {:>8} {:<14} {}\n", dir.name(), phase_of(dir, state),
                        state.qemu ? std::to_string(state.qemu->pid) : "-",
                        held.cpus.empty() ? "-" : held.cpus.to_string(), pages_text(held));
  }
  print(text);
  return done;
}

}  // namespace launcher::commands
