// See planned.hpp.
#include "launcher/commands/planned.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include "launcher/commands/inputs.hpp"
#include "launcher/commands/locking.hpp"
#include "launcher/commands/output.hpp"
#include "launcher/host/linux_host.hpp"
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

std::optional<Planned> plan_or_print(const SpecFile& file, const Options& options) {
  LinuxHost machine;
  const HostConfig config = host_config_or_throw(options);
  const std::optional<std::string> other = options.value("host");
  World world = other ? other_world(machine, config, *other) : dry_world(machine, config);
  auto planned = plan_only(file.spec, world, other ? Ledger::none : Ledger::read);
  if (planned) return std::move(*planned);
  print_problems(planned.error(), &file.document, options.flag("json"));
  return std::nullopt;
}

}  // namespace launcher::commands
