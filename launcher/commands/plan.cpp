// `vmrun plan`: the first half of `vmrun run`, by the same calls. A pure dry run.
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "launcher/commands/commands.hpp"
#include "launcher/commands/inputs.hpp"
#include "launcher/commands/locking.hpp"
#include "launcher/commands/output.hpp"
#include "launcher/life/world.hpp"
#include "launcher/plan/json.hpp"
#include "topology/read_host.hpp"
#include "topology/text_file.hpp"

namespace launcher::commands {

namespace {

// A file `vmrun host --json` wrote also says what QEMU was there.
std::optional<QemuFeatures> features_in(const std::string& file) {
  const auto text = topology::read_text_file(file);
  boost::system::error_code error;
  const boost::json::value json = boost::json::parse(text.value_or(""), error);
  if (error || !json.is_object()) return std::nullopt;
  const boost::json::value* qemu = json.get_object().if_contains("qemu");
  if (qemu == nullptr) return std::nullopt;
  auto features = features_from_json(boost::json::serialize(*qemu));
  if (!features) throw std::runtime_error(file + ": " + features.error());
  return *features;
}

// The spec's plan for another machine: no ledger, no files, QEMU as the file says or as it is here.
World other_world(Host& host, const HostConfig& config, const std::string& argument) {
  auto topology = topology::read_host_argument(argument);
  if (!topology) throw UsageError("--host " + argument + ": " + topology.error());
  World world = this_world(host, config);
  world.base = "/run/vmrun";
  world.read_host = [topology = *topology] { return topology; };
  world.facts = [topology = *topology](const Spec& spec) { return assumed_facts(spec, topology); };
  if (auto features = features_in(argument)) world.features = [found = *features] { return found; };
  return world;
}

}  // namespace

int plan(const Options& options) {
  const std::optional<SpecFile> file = read_spec_or_print(options);
  if (!file) return problems;
  LinuxHost machine;
  const HostConfig config = host_config_or_throw(options);
  const std::optional<std::string> other = options.value("host");
  World world = other ? other_world(machine, config, *other) : dry_world(machine, config);
  auto planned = plan_only(file->spec, world, other ? Ledger::none : Ledger::read);
  if (!planned) {
    print_problems(planned.error(), &file->document, options.flag("json"));
    return problems;
  }
  if (options.flag("json"))
    print_json(plan_json(planned->plan));
  else if (options.flag("shell"))
    print(shell_line(argv_of(planned->plan.qemu, planned->plan.args)));
  else
    print(to_text(planned->plan, planned->host, options.flag("explain")));
  return done;
}

}  // namespace launcher::commands
