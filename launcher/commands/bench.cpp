#include "launcher/commands/bench.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <set>
#include <thread>

#include "launcher/commands/commands.hpp"
#include "launcher/commands/inputs.hpp"
#include "launcher/commands/locking.hpp"
#include "launcher/commands/output.hpp"
#include "launcher/commands/watching.hpp"
#include "launcher/host/linux_host.hpp"
#include "launcher/life/last_words.hpp"
#include "launcher/life/signals.hpp"
#include "launcher/watch/show.hpp"
#include "topology/placement_json.hpp"
#include "topology/sysfs.hpp"

namespace launcher::commands {

namespace {

using Clock = std::chrono::steady_clock;

std::chrono::seconds seconds_of(const Options& options, const std::string& name, std::chrono::seconds otherwise) {
  const auto given = options.number(name);
  return given ? std::chrono::seconds(static_cast<long>(*given)) : otherwise;
}

Where where_of(const std::string& word) {
  if (word == "guest") return Where::guest;
  if (word == "host") return Where::host;
  if (word == "bare") return Where::bare;
  throw UsageError(fmt::format("--in {}: wanted guest, host or bare", word));
}

double load_now(const topology::Sysfs& root) {
  return std::strtod(root.read("/proc/loadavg").value_or("0").c_str(), nullptr);
}

// The hottest zone, in degrees; nullopt: there is none.
std::optional<double> heat_now(const topology::Sysfs& root) {
  std::optional<double> hottest;
  for (const std::string& zone : root.list("/sys/class/thermal"))
    if (const auto heat = root.read_number("/sys/class/thermal/" + zone + "/temp"))
      hottest = std::max(hottest.value_or(0), static_cast<double>(*heat) / 1000);
  return hottest;
}

std::string lists(const std::set<unsigned>& numbers) {
  topology::CpuSet set;
  for (const unsigned number : numbers) set.add(number);
  return set.to_string();
}

std::string forwards_of(const Spec& spec) {
  std::string text;
  for (const Device& device : spec.devices)
    if (const auto* nic = std::get_if<Nic>(&device))
      for (const Forward& forward : nic->forward)
        text += fmt::format("{}{}:{}:{}", text.empty() ? "" : " ", forward.udp ? "udp" : "tcp", forward.host_port,
                            forward.guest_port);
  return text;
}

}  // namespace

std::vector<OptionInfo> bench_options() {
  return {
      {"set", "KEY=VALUE", "override a key of the spec (may be given several times)", true},
      {"in", "WHERE",
       "where COMMAND runs: guest (by the guest agent; the default), host, or bare: on the VM's CPUs "
       "and nodes, without the VM"},
      {"metric", "NAME=REGEX",
       "a number in COMMAND's output, in the pattern's first group; of several in one run the median, or as max:NAME, "
       "min:NAME, sum:NAME has it (may be given several times; fio's and iperf3's JSON are known)",
       true},
      {"ready", "SECONDS", "how long the guest's agent may take to answer (120)"},
      {"timeout", "SECONDS", "how long COMMAND may take (3600)"},
      {"stop-timeout", "SECONDS", "how long the guest may take to power down after a run (10)"},
      {"cooldown", "SECONDS",
       "how long to wait between boots until load and temperatures are as before the first (60)"},
      {"no-watch", "", "do not look meanwhile what disturbs the VM (`watch`)"},
      {"threshold", "NAME=NUMBER", "from where on something disturbs, by the names that an offender has", true},
      {"record", "DIR", "write a record of each run there"},
      {"json", "", "print JSON lines for a program"}};
}

Bench::Bench(const Options& options) {
  self_ = std::filesystem::read_symlink("/proc/self/exe").string();
  spec_ = std::filesystem::absolute(options.word(0, "the spec's file")).string();
  const std::vector<std::string>& words = options.words();
  command_.assign(words.begin() + 1, words.end());
  if (command_.empty()) throw UsageError("wanted a command to measure: vmrun measure SPEC -- COMMAND");
  sets_ = options.all("set");
  where_ = where_of(options.value("in").value_or("guest"));
  for (const std::string& text : options.all("metric")) {
    auto metric = metric_from(text);
    if (!metric) throw UsageError("--metric " + metric.error());
    metrics_.push_back(std::move(*metric));
  }
  ready_ = seconds_of(options, "ready", ready_);
  patience_ = seconds_of(options, "timeout", patience_);
  cooldown_ = seconds_of(options, "cooldown", cooldown_);
  stop_timeout_ = seconds_of(options, "stop-timeout", stop_timeout_);
  json_ = options.flag("json");
  if (const auto directory = options.value("record"))
    record_ = {"--record", std::filesystem::absolute(*directory).string()};
  const Thresholds thresholds = thresholds_of(options);
  if (!options.flag("no-watch")) thresholds_ = thresholds;
  auto read = read_spec(spec_, sets_);
  if (!read) {
    print_problems(read.error().problems, read.error().document ? &*read.error().document : nullptr, json_);
    throw UsageError("nothing was measured");
  }
  name_ = read->spec.name;
  forwards_ = forwards_of(read->spec);
  if (where_ == Where::guest && !has_device<Agent>(read->spec))
    throw UsageError("--in guest needs the guest's agent: the spec needs a table [agent], and the guest qemu-ga");
  document_ = std::move(read->document);
}

std::expected<LaunchPlan, SpecErrors> Bench::plan(const std::vector<std::string>& sets) const {
  std::vector<std::string> all = sets_;
  all.insert(all.end(), sets.begin(), sets.end());
  auto read = read_spec(spec_, all);
  if (!read) return std::unexpected(std::move(read.error()));
  LinuxHost machine;
  World world = dry_world(machine, *read_host_config());
  auto planned = plan_only(read->spec, world, Ledger::read);
  if (!planned) return std::unexpected(SpecErrors{planned.error(), std::move(read->document)});
  return std::move(planned->plan);
}

std::optional<std::string> Bench::why_not(const std::vector<std::string>& sets) const {
  const auto planned = plan(sets);
  if (planned) return std::nullopt;
  const Problem& first = planned.error().problems.front();
  return first.key.empty() ? first.what : first.key + ": " + first.what;
}

void Bench::cool_down() {
  const topology::Sysfs root;
  if (!load_before_) {
    load_before_ = load_now(root);
    heat_before_ = heat_now(root);
    return;
  }
  constexpr double more_load = 0.2, more_heat = 3;
  const auto as_before = [&] {
    return load_now(root) <= *load_before_ + more_load &&
           heat_now(root).value_or(0) <= heat_before_.value_or(0) + more_heat;
  };
  for (const auto until = Clock::now() + cooldown_; Clock::now() < until && !as_before();) {
    if (Signals::pending() != 0) throw std::runtime_error("called off");
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
}

void Bench::start(const std::vector<std::string>& sets) const {
  std::vector<std::string> argv{self_, "start", spec_};
  for (const std::vector<std::string>* list : {&sets_, &sets})
    for (const std::string& set : *list) argv.insert(argv.end(), {"--set", set});
  argv.insert(argv.end(), record_.begin(), record_.end());
  if (run_child({.argv = argv}, patience_).code != 0) throw std::runtime_error("VM " + name_ + " did not start");
}

void Bench::stop() const {
  const std::string timeout = std::to_string(stop_timeout_.count());
  const ChildEnd end = run_child({.argv = {self_, "stop", name_, "--timeout", timeout}, .despite_signals = true},
                                 stop_timeout_ + std::chrono::seconds(120));
  if (end.code == left_over) throw std::runtime_error("not everything could be put back after VM " + name_);
}

topology::Placement Bench::placement(const std::vector<std::string>& sets) const {
  if (where_ != Where::bare) {
    const auto dir = VmDir::find(run_base(), name_);
    const auto plan = dir ? dir->read_plan() : std::nullopt;
    if (!plan || !plan->is_object()) throw std::runtime_error("VM " + name_ + " has ended before it was measured");
    return topology::json::read<topology::Placement>(plan->get_object().at("placement"), "placement");
  }
  const auto planned = plan(sets);
  if (!planned) throw std::runtime_error("the VM does not fit: " + planned.error().problems.front().what);
  return planned->placement;
}

std::vector<std::string> Bench::environment(const Boot& boot, const topology::Placement& placement) const {
  std::set<unsigned> cpus, nodes;
  for (const topology::VcpuSeat& seat : placement.vcpus)
    if (seat.cpu) cpus.insert(*seat.cpu);
  for (const topology::MemoryCell& cell : placement.cells) nodes.insert(cell.host_nodes.begin(), cell.host_nodes.end());
  const std::string run = (run_base() / name_).string();
  return {"VMRUN_NAME=" + name_,
          "VMRUN_QMP=" + run + "/qmp.sock",
          "VMRUN_AGENT=" + run + "/agent.sock",
          "VMRUN_FORWARD=" + forwards_,
          "VMRUN_CPUS=" + lists(cpus),
          "VMRUN_EMULATOR_CPUS=" + placement.emulator.to_string(),
          "VMRUN_NODES=" + lists(nodes),
          fmt::format("VMRUN_RUN={}", boot.run),
          "VMRUN_KNOB=" + boot.knob,
          "VMRUN_ARM=" + boot.arm};
}

ChildEnd Bench::run_command(const Boot& boot, const std::vector<std::string>& sets) const {
  if (where_ == Where::guest) return run_in_guest(name_, command_, patience_);
  const topology::Placement where = placement(sets);
  Child child{.argv = command_, .environment = environment(boot, where)};
  if (where_ == Where::bare) child.on = where;
  return run_child(child, patience_);
}

// What watch could not see to its end is told, and no reason to lose the run.
ChildEnd Bench::watched(Boot& boot, const std::vector<std::string>& sets) const {
  const auto dir = thresholds_ && where_ != Where::bare ? VmDir::find(run_base(), name_) : std::nullopt;
  if (!dir) return run_command(boot, sets);
  Watching watching(*dir, *thresholds_);
  const ChildEnd end = run_command(boot, sets);
  const auto found = watching.end();
  boot.seen.watched = found.has_value();
  if (found) {
    boot.seen.offenders = found->offenders;
    boot.seen.not_checked = found->window.not_checked;
  } else {
    boot.seen.not_checked = {found.error()};
  }
  return end;
}

void Bench::measure(Boot& boot, const std::vector<std::string>& sets, Clock::time_point started) const {
  if (where_ == Where::guest) await_agent(name_, ready_);
  boot.ready_seconds = seconds_since(started);
  const ChildEnd end = watched(boot, sets);
  boot.metrics = read_metrics(end.out, metrics_);
  boot.metrics["seconds"] = end.seconds;
  boot.exit_code = end.code;
  if (end.code != 0) say(fmt::format("run {}: the command ended with {}", boot.run, end.code));
  for (const Offender& one : boot.seen.offenders) say(fmt::format("run {}: disturbed: {}", boot.run, to_text(one)));
}

Boot Bench::boot(Boot boot, const std::vector<std::string>& sets) {
  cool_down();
  const auto started = Clock::now();
  const Where usual = where_;
  if (boot.knob == bare_knob && boot.arm == "b") where_ = Where::bare;
  const bool vm = where_ != Where::bare;
  if (vm) start(sets);
  try {
    measure(boot, sets, started);
  } catch (...) {
    if (vm) stop();
    throw;
  }
  if (vm) stop();
  where_ = usual;
  if (json_) print_json(to_json(boot));
  return boot;
}

}  // namespace launcher::commands
