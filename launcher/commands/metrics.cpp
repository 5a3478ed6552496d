// `vmrun metrics`: what all VMs of this host have counted, for Prometheus: on stdout, as a file for node_exporter, or served.
#include "launcher/watch/metrics.hpp"

#include <fmt/format.h>

#include <charconv>
#include <optional>

#include "launcher/commands/commands.hpp"
#include "launcher/commands/inputs.hpp"
#include "launcher/commands/output.hpp"
#include "launcher/commands/reach.hpp"
#include "launcher/commands/serve.hpp"
#include "launcher/commands/summary.hpp"
#include "launcher/life/run_record.hpp"
#include "launcher/proof/subject.hpp"
#include "launcher/steps/ledger.hpp"
#include "topology/read_host.hpp"

namespace launcher::commands {

namespace {

// How its runs ended: a unit that restarts a VM again and again is seen here.
void add_runs(Metrics& metrics, const std::filesystem::path& state, const std::string& name) {
  const std::vector<RunRecord> records = read_records(runs_directory(state, name));
  metrics.gauge("vmrun_vm_runs_recorded", fmt::format("Its last runs that are on record, {} at most", runs_kept),
                {{"domain", name}}, static_cast<double>(records.size()));
  if (!records.empty() && records.back().ended != 0)
    metrics.gauge("vmrun_vm_last_exit_code", "What its last run that ended, ended with", {{"domain", name}},
                  records.back().exit_code);
}

void add_one(Metrics& metrics, const VmDir& dir) {
  const auto monitor = monitor_if_free(dir);  // without it what QEMU itself has counted is left out
  add_vm(metrics, dir.name(), phase_of(dir, dir.read_state()), look_at(dir, monitor.get(), Looking::at_what_is_known));
}

std::string collect(const Options& options, Exposition form) {
  Metrics metrics;
  const HostConfig config = host_config_or_throw(options);
  metrics.gauge("libvirt_up", "1: the VMs of this host could be looked at", {}, 1);
  const std::vector<VmDir> dirs = VmDir::all(run_base());
  metrics.gauge("vmrun_vms", "VMs that run here", {}, static_cast<double>(dirs.size()));
  for (const VmDir& dir : dirs) try {
      add_one(metrics, dir);
    } catch (const std::exception&) {
      metrics.gauge("vmrun_vm_unreadable", "1: it is starting, or ended meanwhile, or its record cannot be read",
                    {{"domain", dir.name()}}, 1);
    }
  for (const std::string& name : recorded_names(state_base(config))) add_runs(metrics, state_base(config), name);
  if (const auto host = topology::read_this_host(topology::Devices::skip))
    add_host(metrics, *host, config.policy, read_reservations(run_base()));
  return metrics.text(form);
}

}  // namespace

int metrics(const Options& options) {
  if (const auto where = options.value("serve")) {
    serve(*where, [&](bool openmetrics) {
      return collect(options, openmetrics ? Exposition::openmetrics : Exposition::prometheus);
    });
    return done;
  }
  const auto file = options.value("textfile");
  const std::string text =
      collect(options, options.flag("openmetrics") && !file ? Exposition::openmetrics : Exposition::prometheus);
  if (file)
    write_file(*file, text);
  else
    print(text);
  return done;
}

}  // namespace launcher::commands
