// make_plan(): spec, host, ledger, QEMU and facts in; everything a launch will do out. Pure.
#include "launcher/plan/plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <set>

#include "launcher/plan/parts.hpp"
#include "topology/place.hpp"

namespace launcher::inline plan {

namespace {

using namespace parts;

void choose_user(Draft& draft) {
  if (!draft.facts.user_problem.empty())
    draft.problem("", draft.facts.user_problem,
                  "make it with `useradd -r`, or remove the line: each VM then gets a uid of its own");
  if (draft.facts.root) draft.plan.uid = draft.facts.user_uid.value_or(uid_of(draft.spec.name));
}

void place_guest(Draft& draft) {
  auto placed =
      topology::place(placement_request(draft.spec, draft.facts), draft.host, draft.config.policy, draft.taken);
  if (!placed) {
    for (const topology::Unplaceable& why : placed.error()) {
      std::string what = why.what;
      for (const topology::NodeShortage& node : why.nodes) {
        what += fmt::format("; node {} has {} {}, this VM needs {}", node.node, node.have, node.what, node.need);
        if (!node.holder.empty()) what += " (" + node.holder + ")";
      }
      draft.problem(why.key, what, why.help);
    }
    return;
  }
  draft.placed = true;
  draft.plan.placement = std::move(*placed);
  draft.plan.pinned = draft.plan.placement.vcpus.front().cpu.has_value();  // on a small host "auto" may float
  draft.plan.reservation = {draft.spec.name, draft.plan.placement.exclusive, {}, {}};
  for (const topology::PageNeed& need : draft.plan.placement.pages) {
    if (need.page > draft.host.base_page) draft.plan.reservation.pages.push_back({need.node, need.page, need.pages});
  }
  for (const std::string& text : draft.plan.placement.notes) draft.note(text);
  for (const topology::Reservation& other : draft.taken.vms) {
    if (other.cpus.intersects(draft.plan.placement.exclusive))
      draft.problem(
          "cpu.pin",
          "CPUs " + (other.cpus & draft.plan.placement.exclusive).to_string() + " belong to VM " + other.owner,
          "choose others");
  }
}

void check_boot_files(Draft& draft) {
  const auto check = [&](bool readable, const std::string& path, const char* key) {
    if (!readable)
      draft.problem(std::string("boot.") + key,
                    fmt::format("'{}' cannot be read; wanted a file this user may open", path),
                    "check the path and its permissions");
  };
  check(draft.facts.kernel_readable, draft.spec.boot.kernel, "kernel");
  check(draft.facts.initrd_readable, draft.spec.boot.initrd, "initrd");
  check(draft.facts.firmware_readable, draft.spec.boot.firmware, "firmware");
}

void add_identity(Draft& draft) {
  draft.args.add("-name", Opts().set("guest", draft.spec.name).set("debug-threads", true),
                 "threads carry their role's name", "default");
  draft.args.add("-uuid", Opts(draft.plan.uuid), "derived from the name", "default");
  draft.args.add("-nodefaults", "nothing that was not asked for", "default");
  draft.args.add("-no-user-config", "the same launch whatever lies in /etc/qemu", "default");
}

void add_security(Draft& draft) {
  draft.args.add("-sandbox",
                 Opts("on")
                     .set("obsolete", "deny")
                     .set("elevateprivileges", "deny")
                     .set("spawn", "deny")
                     .set("resourcecontrol", "deny"),
                 "the full seccomp denial set", "default");
  draft.args.add("-display", Opts("none"), "no window", "default");
}

void add_monitors(Draft& draft) {
  draft.monitor_fd = draft.fds.take("private QMP");
  draft.args.add("-chardev", Opts("socket").set("id", "control").set("fd", draft.monitor_fd),
                 "vmrun's own line to QEMU: one end of a socketpair", "default");
  draft.args.add("-qmp", Opts("chardev:control"), "QMP on it", "default");
  const int fd = draft.fds.take("QMP socket");
  draft.steps.push_back(
      {Listen{draft.plan.run_dir + "/qmp.sock", fd}, "for `vmrun stop`, `vmrun qmp` and your own tools", "default"});
  draft.args.add("-chardev", Opts("socket").set("id", "qmp").set("fd", fd).set("server", true).set("wait", false),
                 "listening before QEMU exists: nobody has to retry", "default");
  draft.args.add("-qmp", Opts("chardev:qmp"), "QMP on it", "default");
}

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

DeviceNeeds needs_of(const Device& device, const DeviceFacts& facts, unsigned vcpus) {
  return with_facts(device, facts,
                    [&](const auto& one, const auto& its_facts) { return needs(one, its_facts, vcpus); });
}

void sum_needs(Draft& draft) {
  for (std::size_t i = 0; i < draft.spec.devices.size(); ++i) {
    const DeviceNeeds one = needs_of(draft.spec.devices[i], draft.facts.devices.at(i), draft.spec.cpu.count);
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

void add_devices(Draft& draft) {
  std::map<std::size_t, unsigned> count, all;
  for (const Device& device : draft.spec.devices) ++all[device.index()];
  DeviceResults results;
  for (std::size_t i = 0; i < draft.spec.devices.size(); ++i) {
    const Device& device = draft.spec.devices[i];
    const DeviceFacts& facts = draft.facts.devices.at(i);
    const DeviceKind kind = std::visit([](const auto& one) { return one.kind; }, device);
    const unsigned index = count[device.index()]++;
    const std::string table(kind.table);
    DeviceContext context{.vm = draft.spec.name,
                          .qemu = draft.qemu,
                          .host = draft.host,
                          .placement = draft.plan.placement,
                          .kind = kind,
                          .key = kind.many ? fmt::format("{}[{}]", table, index) : table,
                          .index = index,
                          .shares_slot = all[device.index()] > 8,
                          .vcpus = draft.spec.cpu.count,
                          .kvm = draft.kvm(),
                          .root = draft.facts.root,
                          .uid = draft.plan.uid.value_or(draft.facts.uid),
                          .run_dir = draft.plan.run_dir,
                          .state_dir = draft.facts.state_base + "/" + draft.spec.name,
                          .boots_from_net = draft.spec.boot.kernel.empty() && !draft.needs.boots,
                          .iothreads = {},
                          .args = draft.args,
                          .fds = draft.fds,
                          .steps = draft.steps,
                          .problems = draft.problems,
                          .notes = draft.plan.notes,
                          .claims = draft.claims,
                          .results = results};
    const std::vector<IothreadWish> wishes = needs_of(device, facts, draft.spec.cpu.count).iothreads;
    for (const IothreadWish& wish : wishes)
      context.iothreads.push_back(add_iothread(draft, fmt::format("{}{}", table, index), wish, wishes.size() > 1));
    if (index == most_of_a_kind)
      draft.problems.push_back({context.key,
                                fmt::format("{} of them; wanted at most {}", all[device.index()], most_of_a_kind),
                                "remove some: the board has no more slots for this kind"});
    if (index >= most_of_a_kind) continue;
    with_facts(device, facts, [&](const auto& one, const auto& its_facts) { plan_device(one, its_facts, context); });
  }
  draft.plan.functions = results.functions;
  if (draft.plan.uid) std::ranges::copy(results.device_nodes, std::back_inserter(draft.private_nodes));
  draft.plan.console_socket = results.console_socket;
  draft.plan.console_on_stdio = results.console_on_stdio;
}

// What only one VM of this host may have; within one VM, too.
void claim_things(Draft& draft) {
  std::set<std::string> ours;
  for (const auto& [key, thing] : draft.claims) {
    if (!ours.insert(thing).second)
      draft.problem(key, fmt::format("{} is given twice to this VM", thing), "give each device its own");
    for (const topology::Reservation& other : draft.taken.vms) {
      if (std::ranges::find(other.things, thing) != other.things.end())
        draft.problem(key, fmt::format("{} belongs to VM {}", thing, other.owner),
                      fmt::format("choose another, or stop it with `vmrun stop {}`", other.owner));
    }
  }
  draft.plan.reservation.things.assign(ours.begin(), ours.end());
}

// A file QEMU opens by itself: handed over as an fd, named through /proc.
std::string handed_over(Draft& draft, const std::string& path, const std::string& key) {
  const int fd = draft.fds.take(key);
  draft.steps.push_back({OpenFile{path, false, true, fd}, "QEMU gets the open file, not the path", "spec boot." + key});
  return fmt::format("/proc/self/fd/{}", fd);
}

void add_boot(Draft& draft) {
  const BootSpec& boot = draft.spec.boot;
  // plain values: these options take a file name or text as it is, commas and all
  const auto add = [&](const char* option, const std::string& value, const char* why, const char* origin) {
    draft.args.add_plain({option, value, why, origin});
  };
  if (boot.uefi) add_uefi(draft);
  if (!boot.firmware.empty())
    add("-bios", handed_over(draft, boot.firmware, "firmware"), "the firmware given", "spec boot.firmware");
  if (!boot.kernel.empty())
    add("-kernel", handed_over(draft, boot.kernel, "kernel"), "booted directly, without a boot loader",
        "spec boot.kernel");
  if (!boot.initrd.empty())
    add("-initrd", handed_over(draft, boot.initrd, "initrd"), "its initial file system", "spec boot.initrd");
  if (!boot.cmdline.empty()) add("-append", boot.cmdline, "its command line", "spec boot.cmdline");
  draft.args.add("-boot", Opts().set("strict", true), "only what the spec names is booted from", "default");
}

// Always there, as function 0 of the slot that the VM's single devices share.
void add_panic_device(Draft& draft) {
  Opts device("pvpanic-pci");
  device.set("id", "panic0");
  set_address(device, Single::panic);
  draft.args.add("-device", device, "a guest's panic is told to vmrun", "default");
}

void add_end(Draft& draft) {
  static constexpr const char* actions[] = {"exit-failure", "pause", "none"};
  static constexpr const char* reasons[] = {"a guest panic ends QEMU with an error, so that a unit sees it",
                                            "a guest that panicked stays as it is, to be looked at",
                                            "a guest that panicked goes on as it is set to"};
  const auto action = static_cast<std::size_t>(draft.spec.panic);
  draft.args.add("-action", Opts().set("panic", actions[action]), reasons[action],
                 draft.spec.panic == PanicAction::exit ? "default" : "spec panic.action");
  draft.args.add("-S", "paused until every thread is where this plan says", "default");
  for (const std::string& argument : draft.spec.extra_args) draft.args.add_extra(argument);
  if (!draft.spec.extra_args.empty())
    draft.note(fmt::format("extra_args: {} argument{} passed on unchecked", draft.spec.extra_args.size(),
                           draft.spec.extra_args.size() == 1 ? "" : "s"));
}

void add_steps(Draft& draft) {
  for (const topology::PageNeed& need : draft.plan.placement.pages) {
    if (need.deficit == 0 || need.page == draft.host.base_page) continue;
    draft.plan.steps.push_back(
        {RaisePool{need.node, need.page, need.deficit},
         fmt::format("{} pages needed, {} free in the pool", need.pages, need.pages - need.deficit),
         "spec memory.size"});
  }
  for (PlannedStep& step : draft.steps)
    if (auto* helper = std::get_if<StartHelper>(&step.step)) helper->child.cgroup = draft.cgroup;
  for (PlannedStep& step : draft.steps) draft.plan.steps.push_back(std::move(step));
  StartQemu start;
  start.child.argv = draft.args.argv(draft.qemu.binary);
  start.child.uid = draft.plan.uid;
  start.child.affinity = draft.plan.placement.emulator;
  std::set<unsigned> nodes;
  for (const topology::MemoryCell& cell : draft.plan.placement.cells)
    nodes.insert(cell.host_nodes.begin(), cell.host_nodes.end());
  // QEMU's own memory follows the guest's, but only as a wish: its heap must not fail on a full node
  start.child.policy = topology::MemoryPolicy::preferred;
  if (draft.host.nodes.size() > 1) start.child.memory_nodes.assign(nodes.begin(), nodes.end());
  if ((draft.spec.memory.lock != MemorySpec::Lock::off || draft.needs.locked_memory) && draft.facts.root)
    start.child.memlock = memlock_need(draft);
  start.child.group = draft.kvm_group;
  start.child.cgroup = draft.cgroup;
  start.child.cache_group = draft.cache_group;
  start.child.own_core_cookie = draft.plan.core_cookie;
  start.child.private_nodes = draft.private_nodes;
  if (!draft.private_nodes.empty()) start.child.private_dev = draft.plan.run_dir;  // the mount is seen by QEMU alone
  start.monitor_fd = draft.monitor_fd;
  start.log = draft.plan.run_dir + "/qemu.log";
  draft.plan.steps.push_back(
      {start, "memory policy and CPUs are set before exec, so no thread is ever elsewhere", "default"});
}

std::expected<LaunchPlan, Problems> make(Draft& draft) {
  draft.plan.name = draft.spec.name;
  draft.plan.uuid = uuid_of(draft.spec.name);
  draft.plan.qemu = draft.qemu.binary;
  draft.plan.qemu_version = draft.qemu.version;
  draft.plan.run_dir = draft.facts.run_base + "/" + draft.spec.name;
  if (!draft.spec.profile_story.empty()) draft.note(draft.spec.profile_story);
  sum_needs(draft);
  choose_user(draft);
  choose_accel(draft);
  choose_machine(draft);
  place_guest(draft);
  choose_isolation(draft);
  check_boot_files(draft);
  if (!draft.placed) {
    add_devices(draft);  // for their problems: all are shown together
  } else {
    add_identity(draft);
    add_machine(draft);
    add_cpu(draft);
    add_rtc(draft);
    add_memory(draft);
    add_security(draft);
    add_monitors(draft);
    add_panic_device(draft);
    add_devices(draft);
    add_boot(draft);
    add_end(draft);
    add_schedule(draft);
    add_steps(draft);
  }
  claim_things(draft);
  if (!draft.problems.empty()) return std::unexpected(std::move(draft.problems));
  draft.plan.args = draft.args.list();
  return std::move(draft.plan);
}

// Which of several functions a [[pci]] takes depends on what others have.
void choose_functions(const Spec& spec, Facts& facts, const topology::Reservations& taken) {
  std::vector<std::pair<const Pci*, Pci::Facts*>> asked;
  for (std::size_t i = 0; i < spec.devices.size(); ++i)
    if (const Pci* pci = std::get_if<Pci>(&spec.devices[i]))
      asked.emplace_back(pci, &std::get<Pci::Facts>(facts.devices.at(i)));
  std::map<std::string, std::string> owners;
  for (const topology::Reservation& other : taken.vms)
    for (const std::string& thing : other.things) owners[thing] = other.owner;
  launcher::choose_functions(asked, owners, facts.makers_of_vfs);
}

}  // namespace

const StartQemu& LaunchPlan::start() const { return std::get<StartQemu>(steps.back().step); }

topology::PlacementRequest placement_request(const Spec& spec, const Facts& facts) {
  topology::PlacementRequest request;
  request.vcpus = spec.cpu.count;
  request.threads = spec.cpu.threads;
  request.sockets = spec.cpu.sockets;
  request.cores = spec.cpu.cores;
  request.pinning = spec.cpu.pin;
  request.listed = spec.cpu.pin_list;
  request.siblings = spec.cpu.siblings;
  request.emulator = spec.cpu.emulator;
  request.kind = spec.cpu.kind;
  request.own_cpus = spec.cpu.pm || spec.cpu.dedicated.value_or(false) || spec.host.isolate == Wish::yes ||
                     spec.schedule.vcpu_fifo > 0;
  request.memory = spec.memory.max.value_or(spec.memory.size);  // all it may become: pages are never given twice
  request.page = spec.memory.page;
  if (spec.memory.merge && !request.page) request.page = topology::kib(4);  // KSM merges no others
  request.may_reserve_pages = facts.root;
  request.nodes = spec.memory.nodes.value_or(std::vector<unsigned>{});
  request.policy = spec.memory.policy;
  std::set<std::pair<std::string, unsigned>> pooled;
  for (std::size_t i = 0; i < spec.devices.size(); ++i) {
    const DeviceNeeds wanted = needs_of(spec.devices[i], facts.devices.at(i), spec.cpu.count);
    for (const IothreadWish& wish : wanted.iothreads)
      request.iothreads += wish.pool.empty() || pooled.emplace(wish.pool, wish.index).second ? 1 : 0;
    request.vhost_workers += wanted.vhost_workers;
    if (wanted.node) request.device_nodes.push_back(*wanted.node);
  }
  return request;
}

std::expected<LaunchPlan, Problems> make_plan(const Spec& spec, const topology::HostTopology& host,
                                              const HostConfig& config, const topology::Reservations& taken,
                                              const QemuFeatures& qemu, const Facts& facts) {
  Facts settled = facts;
  choose_functions(spec, settled, taken);
  parts::Draft draft{.spec = spec, .host = host, .config = config, .taken = taken, .qemu = qemu, .facts = settled};
  return make(draft);
}

}  // namespace launcher::inline plan
