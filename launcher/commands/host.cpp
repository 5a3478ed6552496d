// `vmrun host`: the machine as vmrun sees it, as a map or a drawing; with --json what `vmrun plan --host FILE` reads. Its
// subcommands are the table below. `vmrun schema`: for editors.
#include <fmt/format.h>

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>

#include "launcher/commands/commands.hpp"
#include "launcher/commands/host_map.hpp"
#include "launcher/commands/inputs.hpp"
#include "launcher/commands/output.hpp"
#include "launcher/facts/qemu_features.hpp"
#include "launcher/steps/ledger.hpp"
#include "topology/read_host.hpp"

namespace launcher::commands {

// One row for each, run by a function of its own file; the words after `vmrun host` choose it.
std::vector<Command> host_subcommands() {
  return {
      {"check",
       "host check [SPEC]",
       "what of this machine's settings keeps VMs slow, why, and how to change it; with a spec only what matters to it",
       {{"json", "", "print JSON for a program"},
        {"set", "KEY=VALUE", "override a key of the spec (may be given several times)", true},
        {"verbose", "", "also print each thing that is well"},
        {"host", "FILE",
         "check another machine: a file of scripts/capture-host, or a directory with its /sys and /proc"}},
       1,
       RUNS(host_check)},
      {"tune",
       "host tune PROFILE",
       "change this machine's settings for such VMs: latency, throughput, database, density, windows or lab",
       {{"json", "", "print JSON for a program"},
        {"dry-run", "", "show what would be changed, why, and what it costs; change nothing"},
        {"for", "NAME", "only the CPUs of this running VM, and interrupts off them (may be given several times)", true},
        {"persist", "", "also write drop-in files in /etc, for the next boots"}},
       1,
       RUNS(host_tune)},
      {"revert",
       "host revert",
       "put back all that host tune has changed, also after a crash",
       {{"json", "", "print JSON for a program"}},
       0,
       RUNS(host_revert)},
      {"unpersist",
       "host unpersist",
       "remove the files that host tune --persist wrote, unless somebody edited them",
       {{"json", "", "print JSON for a program"}},
       0,
       RUNS(host_unpersist)}};
}

int host(const Options& options) {
  auto topology = topology::read_this_host(topology::Devices::read);
  if (!topology) throw std::runtime_error("cannot read this host: " + topology.error());
  const HostConfig config = host_config_or_throw(options);
  const topology::Reservations taken = read_reservations(run_base());
  if (const auto file = options.value("svg")) {
    draw_host(*topology, config.policy, taken, *file);
    return done;
  }
  const auto binary = find_qemu(config.qemu);
  const auto features = binary ? qemu_features(*binary, Cache::read_only) : std::unexpected(binary.error());
  if (options.flag("json")) {
    boost::json::object out{{"host", boost::json::parse(to_json(*topology))}};
    if (features) out["qemu"] = boost::json::parse(to_json(*features));
    print_json(out);
    return done;
  }
  print(host_map(*topology, config.policy, taken, terminal_columns()) +
        (features ? fmt::format("QEMU {} at {}\n", features->version, features->binary) : features.error() + "\n"));
  return done;
}

int schema(const Options&) {
  print_json_text(json_schema());
  return done;
}

}  // namespace launcher::commands
