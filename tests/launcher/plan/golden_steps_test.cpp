// Every golden plan's steps over a fake host: whichever verb fails, before its effect or after it, and after whichever vmrun stops dead,
// what is owed makes the host equal its start. Nothing but programs is stood in for.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <exception>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "launcher/steps/kernel_text.hpp"
#include "launcher/steps/transaction.hpp"
#include "tests/fakes/fake_host.hpp"
#include "tests/launcher/plan/golden.hpp"

namespace {

namespace fs = std::filesystem;
using namespace launcher;
using fakes::When;
using topology::CpuSet;

// The plan of the case in the current directory, for VMs below `base`; nullopt: it has problems.
std::optional<LaunchPlan> plan_here(const fs::path& base) {
  const auto file = read_spec("spec.toml", golden::lines_of("set"));
  if (!file) return std::nullopt;
  const topology::HostTopology host = golden::host_of(".");
  Facts facts = assumed_facts(file->spec, host);
  facts.run_base = base;
  auto plan = make_plan(file->spec, host, {}, {}, golden::recorded_qemu(golden::line_of("qemu", "10.0")), facts);
  return plan ? std::optional(std::move(*plan)) : std::nullopt;
}

// --- what each step finds on a machine on which it was planned ---

struct Machine {
  fakes::FakeHost& host;

  template <class Kind>
  void operator()(const Kind&) const {}  // it needs nothing
  void operator()(const RaisePool& raise) const { host.add_pool({.node = raise.node, .page = raise.page, .total = 7}); }
  void operator()(const OpenTap& tap) const { host.add_persistent_tap(tap.name); }
  void operator()(const OpenFile& file) const { host.add_file(file.path); }
  void operator()(const HoldPath& held) const { host.add_file(held.path); }
  void operator()(const MakeImage& image) const { host.add_file(image.directory); }
  void operator()(const KeepSshKeys& keys) const { host.add_file(keys.directory + "/host_key.pub"); }
  void operator()(const MakeMemoryFile& made) const { add_parts(made.parts); }
  void operator()(const MakeVolume& volume) const {
    for (const auto& file : volume.files) add_parts(file.parts);
  }
  void add_parts(const std::vector<TextPart>& parts) const {
    for (const TextPart& part : parts)
      if (!part.file.empty()) host.add_file(part.file);
  }
  void operator()(const GiveFile& give) const { host.add_owner(give.path, give.before_uid); }
  void operator()(const SetVfMac& set) const {
    if (!set.found.empty()) host.add_vf_mac(set.interface, set.vf, set.found);
  }
  void operator()(const CreateVfs& vfs) const {
    host.add_function(vfs.physical, "ice");
    for (unsigned number = 0; number < vfs.count; ++number) {  // addresses in the order of their numbers
      const char* domain = number < vfs.vf ? "0000:00" : "ffff:00";
      host.add_function(number == vfs.vf ? vfs.address : fmt::format("{}:{:02x}.0", domain, number), "iavf",
                        vfs.physical);
    }
  }
  void operator()(const BindVfio& bind) const {
    if (!host.knows(bind.address)) host.add_function(bind.address, bind.driver.value_or(""));
  }
  void operator()(const ChangeFile& change) const {
    std::visit([&](const auto& one) { find(change.path, one); }, change.change);
  }
  void find(const std::string&, const auto&) const {}  // a control of a group, which has them all
  void find(const std::string& path, const Value& value) const { host.add_value(path, value.before); }
  void find(const std::string& path, const Beside& beside) const { host.add_value(path, beside.value); }
  void find(const std::string& path, const Cpus& cpus) const {
    const CpuSet other = cpus.add.empty() ? CpuSet{4094} : CpuSet{};
    host.add_value(path, mask_text(path, cpus.remove | other));
    if (cpus.back_on)
      host.add_value((fs::path(path).parent_path() / "effective_affinity_list").string(),
                     std::to_string(*cpus.back_on));
    if (!path.ends_with("/cpuset.cpus")) return;
    const fs::path above = fs::path(path).parent_path().parent_path();
    host.add_value((above / "cpuset.cpus.effective").string(), (cpus.remove | CpuSet::range(4094, 4095)).to_string());
  }
};

// Programs that this machine may not have.
Step stood_in(Step step) {
  if (auto* qemu = std::get_if<StartQemu>(&step)) qemu->child.argv = {"/bin/sleep", "60"};
  if (auto* helper = std::get_if<StartHelper>(&step)) helper->child.argv = {"/bin/sleep", "60"};
  if (auto* image = std::get_if<MakeImage>(&step)) image->qemu_img = "/bin/true", image->direct = false;
  return step;
}

// In the order in which a launch does them.
std::vector<Step> steps_of(const LaunchPlan& plan) {
  std::vector<Step> steps;
  for (const bool locked : {true, false})
    for (const PlannedStep& planned : plan.steps)
      if (is_locked(planned.step) == locked) steps.push_back(stood_in(planned.step));
  return steps;
}

std::string story(const std::exception& error) {
  try {
    std::rethrow_if_nested(error);
  } catch (const std::exception& cause) {
    return error.what() + (": " + story(cause));
  }
  return error.what();
}

class Trial {
 public:
  Trial(const LaunchPlan& plan, const fs::path& base, fakes::FakeHost& host)
      : plan_(plan), base_(base), host_(host), steps_(steps_of(plan)) {
    for (const Step& step : steps_) std::visit(Machine{host}, step);
    start_ = snapshot();
  }

  enum class End { done, failed, stopped };
  // With what `script` lets go wrong.
  End run(const std::function<void(fakes::FakeHost&)>& script) {
    const VmDir dir = VmDir::claim(base_, plan_.name).value();
    host_.heal();
    script(host_);
    End end = End::done;
    try {
      Transaction transaction(host_, dir, plan_.uid);
      for (const Step& step : steps_) transaction.perform(step);
      verbs_ = host_.verbs();
    } catch (const fakes::StopDead&) {
      end = End::stopped;
    } catch (const std::exception& error) {
      failure_ = story(error);
      end = End::failed;
    }
    host_.heal();
    return end;
  }
  // As recover does, whose words are of a file, not of memory.
  void undo() {
    fakes::write_file(base_ / plan_.name / "owner", R"({"pid":1,"start":1})");
    CHECK(recover_dead(host_, base_).left == std::vector<std::string>{});
    CHECK(snapshot() == start_);
  }
  void undo_again() {
    CHECK(recover_dead(host_, base_).names == std::vector<std::string>{});
    CHECK(snapshot() == start_);
  }
  std::size_t verbs() const { return verbs_; }
  const std::string& failure() const { return failure_; }

 private:
  std::string snapshot() const {
    std::string text = host_.snapshot(base_);
    for (const auto& [path, uid] : host_.owners()) text += fmt::format("owner of {}: {}\n", path, uid);
    return text;
  }

  const LaunchPlan& plan_;
  fs::path base_;
  fakes::FakeHost& host_;
  std::vector<Step> steps_;
  std::string start_, failure_;
  std::size_t verbs_ = 0;
};

// Returns how many verbs were tried.
std::size_t try_every_verb(const LaunchPlan& plan, const fs::path& base, fakes::FakeHost& host) {
  Trial trial(plan, base, host);
  const Trial::End whole = trial.run([](fakes::FakeHost&) {});
  INFO(trial.failure());
  REQUIRE(whole == Trial::End::done);
  const std::size_t verbs = trial.verbs();
  trial.undo();
  for (std::size_t verb = 0; verb < verbs; ++verb) {
    INFO("verb ", verb);
    for (const When when : {When::before, When::after}) {
      CHECK(trial.run([&](fakes::FakeHost& one) { one.fail_at(verb, when); }) == Trial::End::failed);
      trial.undo();
    }
    CHECK(trial.run([&](fakes::FakeHost& one) { one.stop_dead_at(verb, When::after); }) == Trial::End::stopped);
    trial.undo();
    trial.undo_again();
  }
  return verbs;
}

}  // namespace

TEST_CASE("golden: whichever verb of a plan's steps fails or is the last, the host equals its start again") {
  std::size_t plans = 0, verbs = 0;
  for (const fs::path& dir : golden::cases("plan-")) {
    INFO("case ", dir.filename().string());
    const fakes::TempDir scratch;
    const fs::path base = scratch / "run";
    fs::create_directories(base);
    const golden::WorkingDirectory here(dir);
    const auto plan = plan_here(base);
    if (!plan) continue;
    fakes::FakeHost host(scratch / "host");
    verbs += try_every_verb(*plan, base, host);
    ++plans;
  }
  MESSAGE(plans << " plans, " << verbs << " verbs");
  CHECK(plans >= 60);
  CHECK(verbs >= 9 * plans);
}
