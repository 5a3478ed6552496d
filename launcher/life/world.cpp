#include "launcher/life/world.hpp"

#include <stdexcept>

#include "launcher/facts/host_here.hpp"
#include "launcher/steps/ledger.hpp"
#include "launcher/steps/vm_dir.hpp"

namespace launcher::inline life {

World this_world(Host& host, const HostConfig& config, Cache cache) {
  return {.host = host,
          .base = run_base(),
          .read_host =
              [cache] {
                auto topology = host_here(cache);
                if (!topology) throw std::runtime_error("cannot read this host: " + topology.error());
                return std::move(*topology);
              },
          .facts = [config, cache](const Spec& spec) { return gather_facts(spec, config, cache); },
          .features = [config, cache]() -> std::expected<QemuFeatures, std::string> {
            const auto binary = find_qemu(config.qemu);
            if (!binary) return std::unexpected(binary.error());
            return qemu_features(*binary, cache);
          },
          .config = config};
}

std::expected<Planned, Problems> plan_only(const Spec& spec, World& world, Ledger ledger) {
  const auto features = world.features();
  if (!features) return std::unexpected(Problems{{"", features.error(), ""}});
  topology::HostTopology host = world.read_host();
  Facts facts = world.facts(spec);
  topology::Reservations taken;
  if (ledger == Ledger::read) {
    subtract_pending(host, world.base);

    facts.makers_of_vfs = makers_of_vfs(world.base);
    taken = read_reservations(world.base);
    std::erase_if(taken.vms, [&](const topology::Reservation& other) { return other.owner == spec.name; });
  }
  auto plan = make_plan(spec, host, world.config, taken, *features, facts);
  if (!plan) return std::unexpected(std::move(plan.error()));
  return Planned{std::move(*plan), std::move(host)};
}

}  // namespace launcher::life
