// make_plan(): spec, host, ledger, QEMU and facts in; everything a launch will do out. Pure.
#include "launcher/plan.hpp"

#include <algorithm>
#include <map>
#include <set>

#include <boost/json/array.hpp>
#include <fmt/format.h>

#include "topology/place.hpp"

namespace launcher {

namespace {

using topology::Bytes;

class Planner {
 public:
  Planner(const Spec& spec, const topology::HostTopology& host, const HostConfig& config, const topology::Reservations& taken,
          const QemuFeatures& qemu, const Facts& facts)
      : spec_(spec), host_(host), config_(config), taken_(taken), qemu_(qemu), facts_(facts) {}

  std::expected<LaunchPlan, Problems> make() {
    plan_.name = spec_.name;
    plan_.uuid = uuid_of(spec_.name);
    plan_.qemu = qemu_.binary;
    plan_.qemu_version = qemu_.version;
    plan_.run_dir = facts_.run_base + "/" + spec_.name;
    choose_user();
    choose_accel();
    choose_machine();
    place_guest();
    check_boot_files();
    if (placed_) {
      add_identity();
      add_machine();
      add_cpu();
      add_memory();
      add_security();
      add_monitors();
      add_devices();
      add_boot();
      add_end();
      add_steps();
    }
    if (!problems_.empty()) return std::unexpected(std::move(problems_));
    plan_.args = args_.list();
    return std::move(plan_);
  }

 private:
  bool kvm() const { return plan_.accel == "kvm"; }
  void problem(std::string key, std::string what, std::string help) { problems_.push_back({std::move(key), std::move(what), std::move(help)}); }
  void note(std::string text) { plan_.notes.push_back(std::move(text)); }

  void choose_user() {
    if (!facts_.user_problem.empty()) problem("", facts_.user_problem, "make it with `useradd -r`, or remove the line: each VM then gets a uid of its own");
    if (facts_.root) plan_.uid = facts_.user_uid.value_or(uid_of(spec_.name));
  }

  void choose_accel() {
    const bool good = facts_.kvm && !facts_.kvm_module.empty() && qemu_.has("accel.kvm");
    if (spec_.accel == Accel::kvm && !facts_.kvm)
      problem("accel", "\"kvm\", but " + facts_.kvm_why, "set accel = \"auto\" to fall back to TCG (emulation, many times slower)");
    if (spec_.accel == Accel::kvm && !qemu_.has("accel.kvm"))
      problem("accel", "\"kvm\", but this QEMU was built without KVM", "set accel = \"tcg\", or another qemu in /etc/vmrun/host.toml");
    plan_.accel = spec_.accel ? (*spec_.accel == Accel::kvm ? "kvm" : "tcg") : (good ? "kvm" : "tcg");
    if (!spec_.accel && !good)
      note(fmt::format("accel: TCG, so the guest is emulated and many times slower: {}",
                       facts_.kvm_why.empty() ? std::string("this QEMU was built without KVM") : facts_.kvm_why));
  }

  void choose_machine() {
    machine_ = spec_.machine == "q35" ? qemu_.q35 : spec_.machine;
    if (!qemu_.machines.contains(machine_))
      problem("machine", fmt::format("QEMU {} has no machine '{}'", qemu_.version, machine_),
              fmt::format("set machine = \"q35\" (it becomes {} and is shown in the plan)", qemu_.q35));
    if (spec_.machine != "q35" && qemu_.deprecated_machines.contains(machine_))
      note(fmt::format("machine: {} is deprecated in QEMU {} and will go", machine_, qemu_.version));
  }

  void place_guest() {
    auto placed = topology::place(placement_request(spec_, facts_), host_, config_.policy, taken_);
    if (!placed) {
      for (const topology::Unplaceable& why : placed.error()) {
        std::string what = why.what;
        for (const topology::NodeShortage& node : why.nodes) {
          what += fmt::format("; node {} has {} {}, this VM needs {}", node.node, node.have, node.what, node.need);
          if (!node.holder.empty()) what += " (" + node.holder + ")";
        }
        problem(why.key, what, why.help);
      }
      return;
    }
    placed_ = true;
    plan_.placement = std::move(*placed);
    plan_.pinned = spec_.cpu.pin != topology::Pinning::off;
    plan_.reservation = {spec_.name, plan_.placement.exclusive, {}};
    for (const topology::PageNeed& need : plan_.placement.pages) {
      if (need.page > host_.base_page) plan_.reservation.pages.push_back({need.node, need.page, need.pages});
    }
    for (const std::string& text : plan_.placement.notes) note(text);
    for (const topology::Reservation& other : taken_.vms) {
      if (other.cpus.intersects(plan_.placement.exclusive)) problem("cpu.pin", "CPUs " + (other.cpus & plan_.placement.exclusive).to_string() + " belong to VM " + other.owner, "choose others");
    }
  }

  void check_boot_files() {
    const auto check = [&](bool readable, const std::string& path, const char* key) {
      if (!readable) problem(std::string("boot.") + key, fmt::format("'{}' cannot be read; wanted a file this user may open", path), "check the path and its permissions");
    };
    check(facts_.kernel_readable, spec_.boot.kernel, "kernel");
    check(facts_.initrd_readable, spec_.boot.initrd, "initrd");
    check(facts_.firmware_readable, spec_.boot.firmware, "firmware");
  }

  void add_identity() {
    args_.add("-name", Opts().set("guest", spec_.name).set("debug-threads", true), "threads carry their role's name", "default");
    args_.add("-uuid", Opts(plan_.uuid), "derived from the name", "default");
    args_.add("-nodefaults", "nothing that was not asked for", "default");
    args_.add("-no-user-config", "the same launch whatever lies in /etc/qemu", "default");
  }

  void add_machine() {
    Opts machine(machine_);
    const auto set_known = [&](const char* property, bool value) {
      if (qemu_.has(std::string("machine.") + property)) machine.set(property, value);
    };
    if (kvm()) set_known("pit", false);  // an emulated guest still needs it to calibrate its timer
    set_known("hpet", false);
    set_known("vmport", false);
    machine.set("dump-guest-core", false).set("mem-merge", false);
    if (plan_.placement.cells.size() == 1) machine.set("memory-backend", "ram0");
    args_.add("-machine", machine,
              kvm() ? "versioned: the guest sees the same board after a QEMU upgrade; no PIT (its kernel thread runs unpinned), no HPET (exits)"
                    : "versioned: the guest sees the same board after a QEMU upgrade; no HPET",
              spec_.machine == "q35" ? "guide 004" : "spec machine");
    Opts accel(plan_.accel);
    if (!kvm()) accel.set("thread", "multi");
    if (kvm() && plan_.uid && !facts_.kvm_open_to_all && qemu_.has("kvm.device")) {
      const int fd = fds_.take("/dev/kvm");
      steps_.push_back({OpenFile{"/dev/kvm", true, false, fd}, "QEMU's user has no right to it", "host"});
      args_.add("-add-fd", Opts().set("fd", fd).set("set", fd).set("opaque", "/dev/kvm"), "the open /dev/kvm", "host");
      accel.set("device", fmt::format("/dev/fdset/{}", fd));
    } else if (kvm() && plan_.uid && !facts_.kvm_open_to_all) {
      private_kvm_ = plan_.run_dir + "/dev";
    }
    args_.add("-accel", accel, kvm() ? "hardware virtualization" : "emulation, one thread per vCPU", spec_.accel ? "spec accel" : "host");
  }

  void add_cpu() {
    const topology::GuestTopology& guest = plan_.placement.guest;
    const std::string model = spec_.cpu.model.value_or(kvm() ? "host" : "max");
    Opts cpu(model);
    std::string why = kvm() && model == "host" ? "every feature of this CPU" : "the CPU the guest sees";
    if (kvm() && plan_.pinned) {
      cpu.set("kvm-hint-dedicated", true);
      why += ", told that its CPUs are its own";
    }
    if (kvm() && model == "host" && guest.threads > 1 && host_.cpu_vendor == "AuthenticAMD") cpu.set("topoext", true);
    args_.add("-cpu", cpu, why, spec_.cpu.model ? "spec cpu.model" : "guide 004");
    args_.add("-smp",
              Opts(std::to_string(spec_.cpu.count)).set("sockets", guest.sockets).set("dies", guest.dies).set("cores", guest.cores).set("threads", guest.threads).set("maxcpus", spec_.cpu.count),
              plan_.pinned ? "mirrors the host's cores under the vCPUs" : "every level written out", "spec cpu.count");
  }

  // Threads for preallocation: the VM's own CPUs, which nobody uses yet; on their node the pages are local.
  boost::json::object thread_context(const topology::MemoryCell& cell, const std::string& id) const {
    boost::json::object context{{"qom-type", "thread-context"}, {"id", id}};
    boost::json::array cpus;
    for (const topology::VcpuSeat& seat : plan_.placement.vcpus) {
      if (seat.cpu && seat.guest_node == cell.guest_node) cpus.push_back(*seat.cpu);
    }
    if (cpus.empty()) context["node-affinity"] = boost::json::array(cell.host_nodes.begin(), cell.host_nodes.end());
    else context["cpu-affinity"] = cpus;
    return context;
  }

  void add_memory() {
    const topology::Placement& placement = plan_.placement;
    args_.add("-m", Opts(fmt::format("{}k", spec_.memory.size.count / 1024)), "the guest's memory", "spec memory.size");
    const bool huge = placement.page > host_.base_page;
    const bool prealloc = spec_.memory.prealloc.value_or(huge);
    for (const topology::MemoryCell& cell : placement.cells) {
      const std::string id = fmt::format("ram{}", cell.guest_node);
      boost::json::object ram{{"qom-type", huge ? "memory-backend-memfd" : "memory-backend-ram"}, {"id", id}, {"size", cell.size.count}};
      if (huge) {
        ram["hugetlb"] = true;
        ram["hugetlbsize"] = placement.page.count;
      }
      if (!cell.host_nodes.empty()) {
        static constexpr const char* policies[] = {"bind", "preferred", "interleave"};
        ram["host-nodes"] = boost::json::array(cell.host_nodes.begin(), cell.host_nodes.end());
        ram["policy"] = policies[static_cast<int>(placement.policy)];
      }
      if (prealloc) {
        ram["prealloc"] = true;
        ram["prealloc-threads"] = std::clamp<std::uint64_t>(cell.vcpus.size(), 1, 16);
        if (qemu_.has("thread-context") && qemu_.has("memory-backend-memfd.prealloc-context")) {
          const std::string context = fmt::format("prealloc{}", cell.guest_node);
          args_.add("-object", thread_context(cell, context), "preallocation runs on the VM's own CPUs, near the pages", "default");
          ram["prealloc-context"] = context;
        }
      }
      args_.add("-object", ram,
                huge ? fmt::format("{} pages of node {}, without a hugetlbfs mount", to_string(placement.page), fmt::join(cell.host_nodes, ","))
                     : std::string("base pages; transparent huge pages where the host has them on"),
                spec_.memory.page ? "spec memory.page" : "host");
    }
    if (placement.cells.size() > 1) add_guest_nodes();
    if (spec_.memory.lock) args_.add("-overcommit", Opts().set("mem-lock", true), "never swapped", "spec memory.lock");
    check_memlock();
  }

  void add_guest_nodes() {
    const topology::Placement& placement = plan_.placement;
    for (const topology::MemoryCell& cell : placement.cells) {
      Opts node("node");
      node.set("nodeid", cell.guest_node).set("memdev", fmt::format("ram{}", cell.guest_node));
      for (unsigned vcpu : cell.vcpus) node.set("cpus", vcpu);
      args_.add("-numa", node, fmt::format("the guest sees host node {} as its node {}", fmt::join(cell.host_nodes, ","), cell.guest_node), "host");
    }
    for (std::size_t from = 0; from < placement.distances.size(); ++from) {
      for (std::size_t to = from + 1; to < placement.distances[from].size(); ++to) {
        args_.add("-numa", Opts("dist").set("src", from).set("dst", to).set("val", placement.distances[from][to]), "the host's own distance", "host");
      }
    }
  }

  // mlockall() covers guest memory and QEMU's own: heap, stacks, and TCG's translation buffer.
  std::uint64_t memlock_need() const { return (spec_.memory.size + topology::gib(kvm() ? 1 : 2)).count; }

  void check_memlock() {
    if (!spec_.memory.lock || facts_.root || !facts_.memlock || *facts_.memlock >= memlock_need()) return;
    problem("memory.lock", fmt::format("needs a memlock limit of {}, this user has {}", to_string(Bytes{memlock_need()}), to_string(Bytes{*facts_.memlock})),
            "raise it in /etc/security/limits.d, run as root, or set lock = false");
  }

  void add_security() {
    args_.add("-sandbox", Opts("on").set("obsolete", "deny").set("elevateprivileges", "deny").set("spawn", "deny").set("resourcecontrol", "deny"),
              "the full seccomp denial set", "default");
    args_.add("-display", Opts("none"), "no window", "default");
  }

  void add_monitors() {
    monitor_fd_ = fds_.take("private QMP");
    args_.add("-chardev", Opts("socket").set("id", "control").set("fd", monitor_fd_), "vmrun's own line to QEMU: one end of a socketpair", "default");
    args_.add("-mon", Opts().set("chardev", "control").set("mode", "control"), "QMP on it", "default");
    const int fd = fds_.take("QMP socket");
    steps_.push_back({Listen{plan_.run_dir + "/qmp.sock", fd}, "for `vmrun stop`, `vmrun qmp` and your own tools", "default"});
    args_.add("-chardev", Opts("socket").set("id", "qmp").set("fd", fd).set("server", true).set("wait", false), "listening before QEMU exists: nobody has to retry", "default");
    args_.add("-mon", Opts().set("chardev", "qmp").set("mode", "control"), "QMP on it", "default");
  }

  void add_devices() {
    std::map<std::size_t, unsigned> count;
    const bool boots_from_net = spec_.boot.kernel.empty() && std::none_of(spec_.devices.begin(), spec_.devices.end(), [](const Device& device) { return std::holds_alternative<Disk>(device); });
    for (std::size_t i = 0; i < spec_.devices.size(); ++i) {
      const Device& device = spec_.devices[i];
      const unsigned index = count[device.index()]++;
      static constexpr const char* tables[std::variant_size_v<Device>] = {"disk", "net", "console"};
      const std::string kind = tables[device.index()];
      DeviceContext context{
          .vm = spec_.name, .qemu = qemu_, .facts = facts_.devices.at(i),
          .key = kind == "console" ? kind : fmt::format("{}[{}]", kind, index),
          .index = index, .vcpus = spec_.cpu.count, .kvm = kvm(), .root = facts_.root, .uid = plan_.uid.value_or(facts_.uid),
          .run_dir = plan_.run_dir, .mac = mac_of(spec_.name, index), .tap_name = tap_of(spec_.name, index),
          .boots_from_net = boots_from_net, .iothread = {}, .args = args_, .fds = fds_, .steps = steps_,
          .problems = problems_, .notes = plan_.notes};
      if (std::visit([](const auto& one) { return needs(one); }, device).iothread) context.iothread = add_iothread(kind + std::to_string(index));
      std::visit([&](const auto& one) { plan_device(one, context); }, device);
      if (const Console* console = std::get_if<Console>(&device); console != nullptr && console->mode != Console::Mode::none) {
        plan_.console_socket = plan_.run_dir + "/console.sock";
        plan_.console_on_stdio = console->mode == Console::Mode::stdio;
      }
      if (const Nic* nic = std::get_if<Nic>(&device)) plan_.vhost_workers += vhost_workers(*nic, facts_.devices.at(i), spec_.cpu.count);
    }
  }

  std::string add_iothread(const std::string& device) {
    const std::string id = "io-" + device;
    const topology::CpuSet& cpus = plan_.placement.iothreads.at(plan_.iothreads.size());
    plan_.iothreads.push_back({id, cpus});
    args_.add("-object", Opts("iothread").set("id", id), fmt::format("{}'s requests run beside the main loop{}", device, cpus.empty() ? "" : ", on CPUs " + cpus.to_string()), "guide 001");
    return id;
  }

  // A file QEMU opens by itself: handed over as an fd, named through /proc.
  std::string handed_over(const std::string& path, const std::string& key) {
    const int fd = fds_.take(key);
    steps_.push_back({OpenFile{path, false, true, fd}, "QEMU gets the open file, not the path", "spec boot." + key});
    return fmt::format("/proc/self/fd/{}", fd);
  }

  void add_boot() {
    const BootSpec& boot = spec_.boot;
    // plain values: these options take a file name or text as it is, commas and all
    const auto add = [&](const char* option, const std::string& value, const char* why, const char* origin) {
      args_.add_plain({option, value, why, origin});
    };
    if (!boot.firmware.empty()) add("-bios", handed_over(boot.firmware, "firmware"), "the firmware given", "spec boot.firmware");
    if (!boot.kernel.empty()) add("-kernel", handed_over(boot.kernel, "kernel"), "booted directly, without a boot loader", "spec boot.kernel");
    if (!boot.initrd.empty()) add("-initrd", handed_over(boot.initrd, "initrd"), "its initial file system", "spec boot.initrd");
    if (!boot.cmdline.empty()) add("-append", boot.cmdline, "its command line", "spec boot.cmdline");
    args_.add("-boot", Opts().set("strict", true), "only what the spec names is booted from", "default");
  }

  void add_end() {
    args_.add("-action", Opts().set("panic", "exit-failure"), "a guest panic ends QEMU with an error, so that a unit sees it", "default");
    args_.add("-S", "paused until every thread is where this plan says", "default");
    for (const std::string& argument : spec_.extra_args) args_.add_extra(argument);
    if (!spec_.extra_args.empty()) note(fmt::format("extra_args: {} argument{} passed on unchecked", spec_.extra_args.size(), spec_.extra_args.size() == 1 ? "" : "s"));
  }

  void add_steps() {
    for (const topology::PageNeed& need : plan_.placement.pages) {
      if (need.deficit == 0 || need.page == host_.base_page) continue;
      const topology::HugePagePool* pool = host_.pool(need.node, need.page);
      std::uint64_t floor = pool != nullptr ? pool->total : 0;
      for (const topology::PageClaim& raise : facts_.raised) {
        if (raise.node == need.node && raise.page == need.page) floor -= std::min(floor, raise.pages);
      }
      plan_.steps.push_back({RaisePool{need.node, need.page, need.deficit, floor},
                             fmt::format("{} pages needed, {} free in the pool", need.pages, need.pages - need.deficit), "spec memory.size"});
    }
    for (PlannedStep& step : steps_) plan_.steps.push_back(std::move(step));
    StartQemu start;
    start.child.argv = args_.argv(qemu_.binary);
    start.child.uid = plan_.uid;
    start.child.affinity = plan_.placement.emulator;
    std::set<unsigned> nodes;
    for (const topology::MemoryCell& cell : plan_.placement.cells) nodes.insert(cell.host_nodes.begin(), cell.host_nodes.end());
    // QEMU's own memory follows the guest's, but only as a wish: its heap must not fail on a full node
    start.child.policy = topology::MemoryPolicy::preferred;
    if (host_.nodes.size() > 1) start.child.memory_nodes.assign(nodes.begin(), nodes.end());
    if (spec_.memory.lock && facts_.root) start.child.memlock = memlock_need();
    start.child.private_kvm = private_kvm_;
    start.monitor_fd = monitor_fd_;
    start.log = plan_.run_dir + "/qemu.log";
    plan_.steps.push_back({start, "memory policy and CPUs are set before exec, so no thread is ever elsewhere", "default"});
  }

  const Spec& spec_;
  const topology::HostTopology& host_;
  const HostConfig& config_;
  const topology::Reservations& taken_;
  const QemuFeatures& qemu_;
  const Facts& facts_;
  LaunchPlan plan_;
  Problems problems_;
  QemuArgs args_;
  FdPlan fds_;
  std::vector<PlannedStep> steps_;
  std::string machine_;
  std::string private_kvm_;
  int monitor_fd_ = -1;
  bool placed_ = false;
};

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
  request.emulator = spec.cpu.emulator;
  request.kind = spec.cpu.kind;
  request.memory = spec.memory.size;
  request.page = spec.memory.page;
  request.may_reserve_pages = facts.root;
  request.nodes = spec.memory.nodes.value_or(std::vector<unsigned>{});
  request.policy = spec.memory.policy;
  for (std::size_t i = 0; i < spec.devices.size(); ++i) {
    const DeviceNeeds wanted = std::visit([](const auto& one) { return needs(one); }, spec.devices[i]);
    if (wanted.iothread) ++request.iothreads;
    if (const Nic* nic = std::get_if<Nic>(&spec.devices[i])) request.vhost_workers += vhost_workers(*nic, facts.devices.at(i), spec.cpu.count);
    if (facts.devices.at(i).node) request.device_nodes.push_back(*facts.devices[i].node);
  }
  return request;
}

std::expected<LaunchPlan, Problems> make_plan(const Spec& spec, const topology::HostTopology& host, const HostConfig& config,
                                              const topology::Reservations& taken, const QemuFeatures& qemu, const Facts& facts) {
  return Planner(spec, host, config, taken, qemu, facts).make();
}

}  // namespace launcher
