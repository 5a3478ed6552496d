// Every device of the spec: what all of them ask for, and each kind's own part of the plan.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>

#include "launcher/plan/parts.hpp"

namespace launcher::parts {

namespace {

// One of the device's own, or the pool's, which may be there already.
std::string add_iothread(Draft& draft, const std::string& device, const IothreadWish& wish, bool several) {
  const std::string owner = wish.pool.empty() ? "io-" + device : "pool-" + wish.pool;
  const std::string id = several ? fmt::format("{}-{}", owner, wish.index) : owner;
  for (const IothreadPin& pin : draft.plan.iothreads)
    if (pin.id == id) return id;
  const auto& placed = draft.plan.placement.iothreads;  // empty when there was no place for the VM
  const std::size_t index = draft.plan.iothreads.size();
  const topology::CpuSet cpus = index < placed.size() ? placed[index] : topology::CpuSet{};
  draft.plan.iothreads.push_back({id, cpus});
  Opts iothread("iothread");
  iothread.set("id", id);
  for (const auto& [property, value] : wish.properties) iothread.set(property, value);
  draft.args.add(
      "-object", iothread,
      fmt::format("{} requests run beside the main loop{}", wish.pool.empty() ? device + "'s" : "the pool's disks'",
                  cpus.empty() ? "" : ", on CPUs " + cpus.to_string()),
      "guide 001");
  return id;
}

}  // namespace

std::vector<PlannedDevice> planned_devices(const Spec& spec, const Facts& facts) {
  std::vector<PlannedDevice> all;
  for (std::size_t i = 0; i < spec.devices.size(); ++i) {
    const Device& device = spec.devices[i];
    const DeviceFacts& its_facts = facts.devices.at(i);
    all.push_back({device, its_facts, with_facts(device, its_facts, [&](const auto& one, const auto& looked_at) {
                     return needs(one, looked_at, spec.cpu.count);
                   })});
  }
  return all;
}

void sum_needs(Draft& draft) {
  for (const auto& [device, facts, one] : draft.devices) {
    draft.needs.vhost_workers += one.vhost_workers;
    draft.needs.boots |= one.boots;
    draft.needs.shared_memory |= one.shared_memory;
    draft.needs.locked_memory |= one.locked_memory;
    draft.needs.guest_nodes |= one.guest_nodes;
    for (const auto& [property, value] : one.machine) draft.needs.machine[property] = value;
    draft.needs.memory_slots += one.memory_slots;
    draft.needs.more_memory = draft.needs.more_memory + one.more_memory;
  }
  draft.plan.vhost_workers = draft.needs.vhost_workers;
}

namespace {

// Where a kind's boot indices begin, by which both firmwares try; nullopt: it is not booted from.
std::optional<unsigned> boot_base(const Draft& draft, std::string_view table) {
  constexpr unsigned apart = 100;
  const auto& order = draft.spec.boot.order;
  const auto found = std::ranges::find(order, table);
  if (found == order.end()) return std::nullopt;
  return static_cast<unsigned>(found - order.begin()) * apart;
}

bool boots_from_net(const Draft& draft) {
  return (draft.spec.boot.kernel.empty() && !draft.needs.boots) || boot_base(draft, "net");
}

bool is_notified(const Draft& draft) {
  return draft.spec.ready.by == ReadySpec::By::guest || draft.spec.ready.by == ReadySpec::By::notify;
}

DeviceContext context_of(Draft& draft, const Device& device, unsigned index, unsigned of_its_kind,
                         DeviceResults& results) {
  const DeviceKind kind = std::visit([](const auto& one) { return one.kind; }, device);
  const std::string table(kind.table);
  return {.vm = draft.spec.name,
          .uuid = draft.plan.uuid,
          .qemu = draft.qemu,
          .host = draft.host,
          .placement = draft.plan.placement,
          .kind = kind,
          .key = kind.many ? fmt::format("{}[{}]", table, index) : table,
          .index = index,
          .shares_slot = of_its_kind > kind.slots,
          .host_id = draft.host_id(),
          .vcpus = draft.spec.cpu.count,
          .kvm = draft.kvm(),
          .root = draft.facts.root,
          .notified = is_notified(draft),
          .has_agent = has_device<Agent>(draft.spec),
          .has_cloud_init = has_device<CloudInit>(draft.spec),
          .uid = draft.plan.uid.value_or(draft.facts.uid),
          .run_dir = draft.plan.run_dir,
          .state_dir = draft.facts.state_base + "/" + draft.spec.name,
          .boots_from_net = boots_from_net(draft),
          .boot_base = boot_base(draft, kind.table),
          .iothreads = {},
          .args = draft.args,
          .fds = draft.fds,
          .steps = draft.steps,
          .problems = draft.problems,
          .notes = draft.plan.notes,
          .claims = draft.claims,
          .results = results};
}

}  // namespace

void add_devices(Draft& draft) {
  std::map<std::size_t, unsigned> count, all;
  for (const Device& device : draft.spec.devices)  // cloud-init's volume stands after the disks
    ++all[std::holds_alternative<CloudInit>(device) ? Device(Disk{}).index() : device.index()];
  DeviceResults results;
  for (const PlannedDevice& planned : draft.devices) {
    const Device& device = planned.device;
    const unsigned index = count[device.index()]++;
    DeviceContext context = context_of(draft, device, index, all[device.index()], results);
    const std::vector<IothreadWish>& wishes = planned.needs.iothreads;
    for (const IothreadWish& wish : wishes)
      context.iothreads.push_back(
          add_iothread(draft, fmt::format("{}{}", context.kind.table, index), wish, wishes.size() > 1));
    const unsigned most = context.kind.slots * functions_of_a_slot;
    if (index == most)
      draft.problems.push_back({context.key, fmt::format("{} of them; wanted at most {}", all[device.index()], most),
                                "remove some: the board has no more slots for this kind"});
    if (index >= most) continue;
    with_facts(device, planned.facts,
               [&](const auto& one, const auto& its_facts) { plan_device(one, its_facts, context); });
  }
  draft.plan.functions = results.functions;
  draft.plan.guest = results.guest;
  if (draft.plan.uid) std::ranges::copy(results.device_nodes, std::back_inserter(draft.private_nodes));
  draft.plan.console_socket = results.console_socket;
  draft.plan.console_on_stdio = results.console_on_stdio;
}

}  // namespace launcher::parts
