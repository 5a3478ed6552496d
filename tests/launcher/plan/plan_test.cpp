// make_plan() as a function of values: the same in, the same out; what it refuses; and many VMs on one large host.
#include "launcher/plan/plan.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <set>
#include <string>
#include <vector>

#include "launcher/plan/json.hpp"
#include "launcher/text/render_problem.hpp"
#include "tests/fakes/temp_dir.hpp"
#include "tests/launcher/plan/spec_of.hpp"
#include "topology/read_host.hpp"

namespace {

using namespace launcher;
using topology::CpuSet;
using topology::mib;
namespace fs = std::filesystem;

topology::HostTopology machine(const std::string& name) {
  return topology::read_host_argument((fs::path(VMRUN_TESTS) / "hosts" / (name + ".json")).string()).value();
}

QemuFeatures qemu(const std::string& version) {
  return features_from_json(fakes::read_file(fs::path(VMRUN_TESTS) / "qemu" / (version + ".json"))).value();
}

// One plan to be varied: what a test changes is what it is about.
struct Case {
  Spec spec;
  topology::HostTopology host = machine("rocky-2s");
  HostConfig config = {};
  topology::Reservations taken = {};
  QemuFeatures features = qemu("10.0");
  Facts facts = {};

  explicit Case(const std::string& toml) : spec(spec_of("name = \"db\"\n" + toml)), facts(assumed_facts(spec, host)) {}
  LaunchPlan plan() const {
    auto made = make_plan(spec, host, config, taken, features, facts);
    REQUIRE_MESSAGE(made.has_value(), (made ? "" : render(made.error(), nullptr, false)));
    return *made;
  }
  std::string problems() const {
    const auto made = make_plan(spec, host, config, taken, features, facts);
    return made ? "none" : render(made.error(), nullptr, false);
  }
};

const std::string small = "[cpu]\ncount = 2\n[memory]\nsize = \"1G\"\npage = \"2M\"\n";
const std::string disk = "[[disk]]\npath = \"/images/a.raw\"\n";
const std::string net = "[[net]]\nbridge = \"br0\"\n";

std::string value_of(const LaunchPlan& plan, const std::string& option, const std::string& with = "") {
  for (const Arg& arg : plan.args) {
    if (arg.option == option && arg.value.find(with) != std::string::npos) return arg.value;
  }
  return "";
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

bool noted(const LaunchPlan& plan, const std::string& part) {
  return std::any_of(plan.notes.begin(), plan.notes.end(), [&](const std::string& note) { return has(note, part); });
}

}  // namespace

TEST_CASE("the same values give the same bytes") {
  const Case one(small + disk + net);
  const std::string text = to_text(one.plan(), one.host, true);
  const std::string json = to_json(one.plan());
  for (int i = 0; i < 20; ++i) {
    CHECK(to_text(one.plan(), one.host, true) == text);
    CHECK(to_json(one.plan()) == json);
  }
}

TEST_CASE("a plan's JSON holds the command line and the steps with their undos, and reads back") {
  const Case one(small + disk + net + "[boot]\nkernel = \"/boot/a,b\"\n");
  const LaunchPlan plan = one.plan();
  const boost::json::object json = boost::json::parse(to_json(plan)).as_object();
  std::vector<std::string> argv;
  for (const auto& word : json.at("argv").as_array()) argv.emplace_back(word.as_string());
  CHECK(argv == argv_of(plan.qemu, plan.args));
  CHECK(argv == plan.start().child.argv);
  const boost::json::array& steps = json.at("steps").as_array();
  REQUIRE(steps.size() == plan.steps.size());
  for (std::size_t i = 0; i < steps.size(); ++i) {
    CHECK(step_from_json(steps[i].at("step")) == plan.steps[i].step);
    CHECK(steps[i].at("undo").as_array().size() == undo_of(plan.steps[i].step).size());
    for (const auto& undo : steps[i].at("undo").as_array()) CHECK(undo_from_json(undo).has_value());
    CHECK(steps[i].at("text").as_string() == describe(plan.steps[i].step));
  }
  CHECK(topology::json::read<topology::Placement>(json.at("placement")) == plan.placement);
  CHECK(topology::json::read<topology::Reservation>(json.at("reservation")) == plan.reservation);
}

TEST_CASE("every argument and every step says why, and where that comes from") {
  const Case one(small + disk + net + "[boot]\nkernel = \"/k\"\ninitrd = \"/i\"\ncmdline = \"x\"\n");
  const LaunchPlan plan = one.plan();
  for (const Arg& arg : plan.args) {
    INFO(arg.option, " ", arg.value);
    CHECK(!arg.why.empty());
    CHECK((arg.origin == "default" || arg.origin == "host" || arg.origin == "qemu" || arg.origin.starts_with("spec ") ||
           arg.origin.starts_with("guide 00")));
  }
  for (const PlannedStep& step : plan.steps) {
    CHECK(!step.why.empty());
    CHECK(!step.origin.empty());
  }
  CHECK(std::holds_alternative<StartQemu>(plan.steps.back().step));
}

TEST_CASE("every fd in the command line is opened by exactly one step, and the other way round") {
  const Case one(small + disk + "[[disk]]\npath = \"/images/b.qcow2\"\n" + net +
                 "queues = 2\n[[net]]\ntap = \"tap0\"\nvhost = false\n[boot]\nkernel = \"/k\"\ninitrd = "
                 "\"/i\"\nfirmware = \"/f\"\n");
  const LaunchPlan plan = one.plan();
  std::multiset<int> opened;
  for (const PlannedStep& planned : plan.steps) {
    if (const auto* tap = std::get_if<MakeTap>(&planned.step)) opened.insert(tap->fds.begin(), tap->fds.end());
    if (const auto* tap = std::get_if<OpenTap>(&planned.step)) opened.insert(tap->fds.begin(), tap->fds.end());
    if (const auto* vhost = std::get_if<OpenVhost>(&planned.step)) opened.insert(vhost->fds.begin(), vhost->fds.end());
    if (const auto* file = std::get_if<OpenFile>(&planned.step)) opened.insert(file->fd);
    if (const auto* memory = std::get_if<MakeGuestMemory>(&planned.step)) opened.insert(memory->fd);
    if (const auto* socket = std::get_if<Listen>(&planned.step)) opened.insert(socket->fd);
    if (const auto* start = std::get_if<StartQemu>(&planned.step)) opened.insert(start->monitor_fd);
  }
  std::multiset<int> used;
  for (const Arg& arg : plan.args) {
    for (const std::string key : {"fd=", "fds=", "vhostfd=", "vhostfds=", "/proc/self/fd/"}) {
      const std::size_t at = arg.value.find(key);
      if (at == std::string::npos || (key[0] != '/' && at > 0 && arg.value[at - 1] != ',')) continue;
      std::size_t from = at + key.size();
      do {
        used.insert(std::stoi(arg.value.substr(from)));
        from = arg.value.find_first_not_of("0123456789", from);
      } while (from != std::string::npos && arg.value[from++] == ':');
    }
  }
  CHECK(opened == used);
  CHECK(std::set<int>(opened.begin(), opened.end()).size() == opened.size());
  CHECK(*opened.begin() >= 10);
}

TEST_CASE("adding a disk renumbers no network card") {
  const LaunchPlan before = Case(small + disk + net).plan();
  const LaunchPlan after = Case(small + disk + "[[disk]]\npath = \"/images/b.raw\"\n" + net).plan();
  for (const char* key : {"addr=10", "mac="}) CHECK(has(value_of(after, "-device", "virtio-net-pci"), key));
  CHECK(value_of(before, "-device", "virtio-net-pci") == value_of(after, "-device", "virtio-net-pci"));
  CHECK(value_of(before, "-device", "id=disk0") == value_of(after, "-device", "id=disk0"));
}

TEST_CASE("more than eight disks share slots; more than there are slots for are refused") {
  const auto with_disks = [](unsigned count) {
    std::string toml = "[cpu]\ncount = 2\n[memory]\nsize = \"1G\"\npage = \"4K\"\n";
    for (unsigned i = 0; i < count; ++i)
      toml += fmt::format("[[disk]]\npath = \"/images/{}.raw\"\niothread = false\n", i);
    return Case(toml);
  };
  CHECK(!has(value_of(with_disks(8).plan(), "-device", "id=disk0"), "multifunction"));
  const LaunchPlan nine = with_disks(9).plan();
  CHECK(has(value_of(nine, "-device", "id=disk0"), "addr=08,multifunction=on"));
  CHECK(has(value_of(nine, "-device", "id=disk8"), "addr=08.1,num-queues"));
  std::set<std::string> addresses;
  const LaunchPlan full = with_disks(64).plan();
  for (const Arg& arg : full.args) {
    const std::size_t at = arg.value.find(",addr=");
    if (at != std::string::npos) addresses.insert(arg.value.substr(at + 6, arg.value.find(',', at + 6) - at - 6));
  }
  CHECK(addresses.size() == 65);  // with the panic device
  CHECK(has(with_disks(65).problems(), "error: disk[64]: 65 of them; wanted at most 64"));
}

TEST_CASE("what derives from a name is the same everywhere, and differs between names") {
  CHECK(uuid_of("db") == "6db86ff6-9681-528e-bdee-28ea63f57ff8");
  std::set<std::string> uuids, macs, taps;
  std::set<unsigned> uids;
  for (int i = 0; i < 500; ++i) {
    const std::string name = fmt::format("vm-{}", i);
    uuids.insert(uuid_of(name));
    uids.insert(uid_of(name));
    for (unsigned nic : {0u, 1u}) {
      macs.insert(mac_of(name, nic));
      taps.insert(tap_of(name, nic));
      CHECK(mac_of(name, nic).starts_with("52:54:00:"));
      CHECK(tap_of(name, nic).size() <= 15);
    }
    CHECK(uid_of(name) >= 1'900'000'000u);
    CHECK(uid_of(name) < 2'000'000'000u);
  }
  CHECK(uuids.size() == 500);
  CHECK(uids.size() == 500);
  CHECK(macs.size() == 1000);
  CHECK(taps.size() == 1000);
  CHECK(tap_of("a-very-long-name-of-a-virtual-machine-indeed", 63).size() <= 15);
}

TEST_CASE("a QEMU without KVM, and a host without it") {
  Case one(small);
  CHECK(one.plan().accel == "kvm");
  one.facts.kvm = false;
  one.facts.kvm_why = "there is no /dev/kvm";
  CHECK(one.plan().accel == "tcg");
  CHECK(noted(one.plan(), "accel: TCG, so the guest is emulated and many times slower: there is no /dev/kvm"));
  CHECK(value_of(one.plan(), "-cpu") == "max");
  one.spec.accel = Accel::kvm;
  CHECK(has(one.problems(), "error: accel: \"kvm\", but there is no /dev/kvm"));
  one.facts = assumed_facts(one.spec, one.host);
  one.features.known.erase("accel.kvm");
  CHECK(has(one.problems(), "error: accel: \"kvm\", but this QEMU was built without KVM"));
  one.spec.accel.reset();
  CHECK(noted(one.plan(), "this QEMU was built without KVM"));
  one = Case(small);
  one.facts.kvm_module = "";
  one.facts.kvm_why = "served by something else";
  CHECK(one.plan().accel == "tcg");
  one.spec.accel = Accel::kvm;  // insists
  CHECK(one.plan().accel == "kvm");
}

TEST_CASE(
    "how QEMU's user gets at /dev/kvm: by fd where QEMU takes one, else its group, else a node of its own, else as it "
    "is") {
  Case one(small);
  CHECK(has(value_of(one.plan(), "-accel"), "kvm,device=/dev/fdset/"));
  CHECK(one.plan().start().child.private_dev == "");
  one.features = qemu("7.2");
  CHECK(value_of(one.plan(), "-accel") == "kvm");
  CHECK(one.plan().start().child.private_dev == "/run/vmrun/db");
  one.facts.kvm_group = 106;
  CHECK(one.plan().start().child.private_dev == "");
  CHECK(one.plan().start().child.group == 106u);
  one.facts.kvm_group.reset();
  one.facts.kvm_open_to_all = true;
  CHECK(one.plan().start().child.private_dev == "");
  one = Case(small);
  one.facts.root = false;
  one.facts.uid = 1000;
  one.host.nodes[0].pools[0] = {mib(2), 512, 512};
  CHECK(value_of(one.plan(), "-accel") == "kvm");
  CHECK(!one.plan().uid);
  CHECK(!one.plan().start().child.uid);
}

TEST_CASE("without root: no pages are reserved, no tap is made") {
  Case one(small);
  one.facts.root = false;
  CHECK(has(one.problems(), "error: memory.page: "));
  one.host.nodes[1].pools[0] = {mib(2), 600, 512};
  const LaunchPlan plan = one.plan();
  CHECK(std::none_of(plan.steps.begin(), plan.steps.end(),
                     [](const PlannedStep& step) { return std::holds_alternative<RaisePool>(step.step); }));
  CHECK(plan.reservation.pages == std::vector<topology::PageClaim>{{1, mib(2), 512}});
  Case tap(small + net);
  tap.facts.root = false;
  CHECK(has(tap.problems(), "error: net[0].bridge: making a tap and attaching it needs root"));
}

TEST_CASE("a pool is raised by the deficit") {
  Case one(small);
  one.host.nodes[0].pools[0] = {mib(2), 700, 100};
  one.host.nodes[1].memory_free = mib(100);
  one.taken.vms = {{"web", CpuSet{1}, {{0, mib(2), 600}}}};
  CHECK(one.plan().steps.front().step == Step{RaisePool{0, mib(2), 412}});
}

TEST_CASE("memory of 4K pages is claimed as huge pages are, but where it is to be merged") {
  for (const char* page : {"\"4K\"", "\"transparent\""}) {
    Case one(small + "");
    one.spec = spec_of("name = \"db\"\n[cpu]\ncount = 4\n[memory]\nsize = \"1G\"\npage = " + std::string(page) + "\n");
    one.facts.transparent_pages = "madvise";
    const LaunchPlan plan = one.plan();
    CHECK(plan.reservation.pages ==
          std::vector<topology::PageClaim>{{plan.placement.cells.at(0).host_nodes.at(0), topology::kib(4), 262144}});
  }
  Case merged(small + "");
  merged.spec = spec_of("name = \"db\"\n[memory]\nsize = \"1G\"\npage = \"4K\"\nmerge = true\n");
  CHECK(merged.plan().reservation.pages.empty());
}

TEST_CASE("two VMs never have one uid") {
  Case one(small);
  const unsigned usual = one.plan().uid.value();
  const std::string thing = "uid " + std::to_string(usual);
  CHECK(one.plan().reservation.things == std::vector<std::string>{thing});
  one.taken.vms = {{"web", {}, {}, {thing}}};
  CHECK(one.plan().uid == usual + 1);
  CHECK(one.plan().start().child.uid == usual + 1);
  CHECK(noted(one.plan(), "QEMU runs as uid " + std::to_string(usual + 1) + ", not as " + std::to_string(usual)));
  one.taken.vms[0].things.clear();
  for (const unsigned uid : one.facts.uids) one.taken.vms[0].things.push_back("uid " + std::to_string(uid));
  CHECK(has(one.problems(), "error: name: each of the uids that this name gives is somebody else's on this host"));
  one.facts.user_uid = usual;  // host.toml's user is what the administrator wants, for all VMs
  CHECK(one.plan().uid == usual);
  one.facts.user_uid = {};
  one.taken = {};
  one.facts.uid_note = "sssd, which is set up here";
  CHECK(noted(one.plan(), "sssd, which is set up here"));
}

TEST_CASE("a passed-through device's memory is not counted into a limit that locked memory has used up") {
  Case one("[cpu]\ncount = 2\n[memory]\nsize = \"16G\"\npage = \"4K\"\nlock = true\n");
  CHECK(one.plan().start().child.memlock == topology::gib(17).count);
  one = Case(
      "[cpu]\ncount = 2\n[memory]\nsize = \"16G\"\npage = \"4K\"\nlock = true\n[[net]]\nmode = \"vdpa\"\n"
      "device = \"/dev/vhost-vdpa-0\"\n");
  CHECK(one.plan().start().child.memlock == ~std::uint64_t{0});
  one.facts.root = false;
  one.facts.memlock = topology::gib(17).count;
  CHECK(has(one.problems(), "needs a memlock limit of 33G, this user has 17G"));
  one.spec.memory.lock = MemorySpec::Lock::off;
  CHECK(!has(one.problems(), "memlock limit"));
}

TEST_CASE("what a process may map has room for the guest's memory, and QEMU's own") {
  Case one("[cpu]\ncount = 2\n[memory]\nsize = \"16G\"\npage = \"4K\"\n");
  one.facts.address_space = one.spec.memory.size.count;
  CHECK(has(one.problems(), "of address space that a process may have here"));
  one.facts.address_space = one.spec.memory.size.count + topology::gib(1).count;
  CHECK(!has(one.problems(), "address space"));
}

TEST_CASE("kept state serves the VM that made it, and no less safely than it was made") {
  const std::string uefi = "[boot]\nfirmware = \"uefi\"\n", secure = uefi + "secure_boot = true\n";
  const auto record_of = [](const LaunchPlan& plan) -> std::string {
    for (const PlannedStep& planned : plan.steps)
      if (const auto* keep = std::get_if<KeepText>(&planned.step)) return keep->text;
    return "none";
  };
  Case one(small + disk + secure);
  CHECK(has(record_of(one.plan()),
            R"("secure_boot":true,"firmware":"/usr/share/OVMF/OVMF_VARS_4M.ms.fd","disks":["/images/a.raw"])"));
  CHECK(record_of(Case(small + disk).plan()) == "none");
  CHECK(has(record_of(Case(small + disk + "[tpm]\n").plan()), R"("firmware":"")"));

  one.facts.kept = {
      .variables = true, .platform_key = true, .maker = StateMaker{one.plan().uuid, true, "/f", {"/images/a.raw"}}};
  CHECK(has(record_of(one.plan()), R"("secure_boot":true,"firmware":"/f")"));
  one.facts.kept.maker->secure_boot = false;
  const std::string used = one.problems();
  CHECK(has(
      used,
      "error: boot.secure_boot: true, but the UEFI variables that are kept of VM 'db' were used without Secure Boot"));
  CHECK(has(used, "help: `vmrun forget db` removes them"));
  one.facts.kept.platform_key = false;
  CHECK(has(one.problems(), "were made without: no keys are enrolled"));
  one.facts.kept.maker.reset();  // an older vmrun's: the variables have to say it
  CHECK(has(one.problems(), "were made without: no keys are enrolled"));
  one.facts.kept.platform_key = true;
  CHECK(one.problems() == "none");
  Case without(small + disk + uefi);
  without.facts.kept = {
      .variables = true, .platform_key = true, .maker = StateMaker{without.plan().uuid, true, "/f", {"/images/a.raw"}}};
  CHECK(has(record_of(without.plan()), R"("secure_boot":false)"));  // from here on

  one.facts.uefi_variables_size = 540'672;
  one.facts.kept.variables_size = 131'072;
  CHECK(has(one.problems(), "error: boot.firmware: the UEFI variables that are kept of VM 'db' have 131072 bytes"));
  one.facts.kept.variables_size = 540'672;
  one.facts.kept.maker = StateMaker{one.plan().uuid, true, "/f", {"/images/other.raw"}};
  const std::string other = one.problems();
  CHECK(has(other,
            "error: name: the UEFI variables that are kept under it are of another VM: one with the disks "
            "'/images/other.raw'"));
  CHECK(has(other, "`vmrun forget db --maker` lets this VM take it over"));
  one.facts.kept.maker->disks.push_back("/images/a.raw");  // one was added or moved
  CHECK(one.problems() == "none");
  Case tpm(small + disk + "[tpm]\n");
  tpm.facts.kept = {.tpm = true, .maker = StateMaker{tpm.plan().uuid, true, "", {"/images/other.raw"}}};
  CHECK(has(tpm.problems(), "error: name: the TPM's memory that is kept under it is of another VM"));
}

TEST_CASE(
    "what is kept of a VM is read whatever lies there, and keys are seen in variables as the firmware wrote them") {
  const fakes::TempDir dir;
  CHECK(!look_at_kept_state(dir / "none").variables);
  std::string variables(1000, '\xff');
  const auto put = [&](std::size_t at, std::string_view bytes) { variables.replace(at, bytes.size(), bytes); };
  put(500 - 44, std::string_view("\xaa\x55\x3f", 3));
  put(500, std::string_view("\x61\xdf\xe4\x8b\xca\x93\xd2\x11\xaa\x0d\x00\xe0\x98\x03\x2b\x8c", 16));
  put(516, std::string_view("P\0K\0\0\0", 6));
  CHECK(has_platform_key(variables));
  put(500 - 42, "\x3c");  // deleted
  CHECK(!has_platform_key(variables));
  for (std::size_t length = 0; length < variables.size(); length += 7)
    CHECK(!has_platform_key(variables.substr(0, length)));
  for (const auto& [file, keys] :
       {std::pair("/usr/share/OVMF/OVMF_VARS_4M.ms.fd", true), {"/usr/share/OVMF/OVMF_VARS_4M.fd", false}})
    if (fs::exists(file)) CHECK(has_platform_key(fakes::read_file(file)) == keys);
  fakes::write_file(dir / "vars.fd", variables);
  for (const char* record : {"", "{", "[]", R"({"version":9,"uuid":"x"})", R"({"version":1,"uuid":7})"}) {
    fakes::write_file(dir / "made-by.json", record);
    const KeptState kept = look_at_kept_state(dir.path());
    CHECK(kept.variables);
    CHECK(kept.variables_size == 1000);
    CHECK(!kept.maker);
  }
  fakes::write_file(dir / "made-by.json",
                    R"({"version":1,"uuid":"u","secure_boot":true,"firmware":"f","disks":["d"]})");
  CHECK(look_at_kept_state(dir.path()).maker == StateMaker{"u", true, "f", {"d"}});
  put(500 - 42, "\x3f");
  fs::remove(dir / "vars.fd");
  fakes::write_file(dir / "vars.qcow2", variables);
  const KeptState image = look_at_kept_state(dir.path());
  CHECK(image.variables);
  CHECK(image.platform_key);
  CHECK(image.variables_size == 0);
}

TEST_CASE("features decide, not versions") {
  Case one(small + disk + net);
  CHECK(has(value_of(one.plan(), "-device", "virtio-blk-pci"), "packed=on"));
  one.features.known.erase("virtio-blk-pci.packed");
  one.features.known.erase("thread-context");
  one.features.known.erase("machine.vmport");
  one.features.known.erase("aio.io_uring");
  const LaunchPlan plan = one.plan();
  CHECK(has(value_of(plan, "-device", "virtio-blk-pci"), "packed=off"));
  CHECK(value_of(plan, "-object", "thread-context") == "");
  CHECK(has(value_of(plan, "-object", "\"ram0\""), "\"prealloc\":true"));
  CHECK(!has(value_of(plan, "-object", "\"ram0\""), "prealloc-context"));
  CHECK(!has(value_of(plan, "-machine"), "vmport"));
  CHECK(has(value_of(plan, "-blockdev"), "aio=native"));
  CHECK(noted(plan, "disk[0].aio: native instead of io_uring: this QEMU was built without it"));
  one = Case(small + disk + "packed = true\naio = \"io_uring\"\n");
  one.features.known.erase("virtio-blk-pci.packed");
  one.features.known.erase("aio.io_uring");
  CHECK(has(one.problems(), "error: disk[0].packed: QEMU 10.0.2 has no packed virtqueues for virtio-blk"));
  CHECK(has(one.problems(), "error: disk[0].aio: QEMU 10.0.2 was built without io_uring"));
}

TEST_CASE("a CPU feature is had, or refused, as this host's KVM and this QEMU say") {
  Case one(small + "");
  one.spec.cpu.add = {"avx512f"};
  one.spec.cpu.require = {"avx512f", "vmx"};
  CHECK(noted(one.plan(), "cpu.add: whether this host can give them is not known here (another machine's)"));
  CHECK(value_of(one.plan(), "-cpu").ends_with(",avx512f=on,vmx=on"));
  one.facts.cpu.features = std::set<std::string>{"avx512f"};
  CHECK(has(one.problems(), "error: cpu.require[1]: \"vmx\" cannot be had: neither this host's CPU nor its KVM"));
  one.facts.cpu.features->insert("vmx");
  CHECK(!noted(one.plan(), "not known here"));
  CHECK(one.plan().features == std::vector<CpuFeature>{{"avx512f", true}, {"vmx", true}});
  one.spec.cpu.remove = {"avx512pff"};
  CHECK(has(one.problems(), "error: cpu.remove[0]: QEMU 10.0.2 knows no CPU feature \"avx512pff\"\n"));
  CHECK(has(one.problems(), "help: did you mean \"avx512pf\"?"));
  one.features.cpu_on.clear();  // a QEMU that was not asked for its names
  CHECK(one.problems() == "none");
}

TEST_CASE("clocks follow what this host's TSC is") {
  Case one(small);
  CHECK(has(value_of(one.plan(), "-cpu"), "host,migratable=off,invtsc=on"));
  one.spec.cpu.model = "Skylake-Server";
  CHECK(!has(value_of(one.plan(), "-cpu"), "invtsc"));
  one.spec.clock.invtsc = true;
  CHECK(value_of(one.plan(), "-cpu").starts_with("Skylake-Server,invtsc=on"));
  one.facts.cpu.stable_tsc = false;
  CHECK(has(one.problems(), "error: clock.invtsc: true, but this host's TSC stops or changes its rate"));
  one = Case(small);
  one.facts.cpu.stable_tsc = false;
  CHECK(!has(value_of(one.plan(), "-cpu"), "invtsc"));
  one.spec.clock.kvmclock = false;
  CHECK(noted(one.plan(), "reads the ACPI timer"));
  one.spec.clock.frequency = 2'000'000'000;
  CHECK(has(value_of(one.plan(), "-cpu"), ",tsc-frequency=2000000000"));
  one.facts.cpu.tsc_scaling = false;
  CHECK(has(one.problems(), "error: clock.tsc_frequency: this host's KVM cannot scale the TSC"));
  one = Case(small);
  one.facts.kvm_module = "";
  one.spec.accel = Accel::kvm;  // a KVM of another kind: nothing is promised for it
  CHECK(!has(value_of(one.plan(), "-cpu"), "invtsc"));
  one = Case(small);
  one.features.known.erase("machine.hpet");
  CHECK(!has(value_of(one.plan(), "-machine"), "hpet"));
  one.spec.clock.hpet = false;
  CHECK(has(one.problems(), "error: clock.hpet: QEMU 10.0.2 has no switch for the hpet"));
}

TEST_CASE("nested, pm and dedicated need what they need") {
  Case one(small);
  one.spec.cpu.nested = true;
  CHECK(has(value_of(one.plan(), "-cpu"), ",vmx=on"));
  one.facts.cpu.nested = false;
  CHECK(has(one.problems(), "error: cpu.nested: true, but kvm_intel was loaded without nested virtualization"));
  one.spec.cpu.nested = false;
  CHECK(has(value_of(one.plan(), "-cpu"), ",vmx=off"));
  one = Case(small);
  one.spec.cpu.pm = true;
  one.spec.memory.lock = MemorySpec::Lock::on;
  CHECK(value_of(one.plan(), "-overcommit") == "mem-lock=on,cpu-pm=on");
  one.facts.cpu.disable_exits = 2u;
  CHECK(noted(one.plan(), "MWAIT does not exist there"));
  one.facts.cpu.disable_exits = 4u;
  CHECK(has(one.problems(), "error: cpu.pm: true, but this host's KVM cannot leave HLT and MWAIT to the guest"));
  one = Case(small);
  one.spec.cpu.pm = one.spec.cpu.dedicated.emplace(true);
  one.spec.cpu.pin = topology::Pinning::off;
  CHECK(has(one.problems(), "error: cpu.pm: true, but the vCPUs share their CPUs"));
  one.spec.cpu.pm = false;
  CHECK(noted(one.plan(), "which they are not"));
  one.spec.cpu.dedicated = false;
  CHECK(has(value_of(one.plan(), "-cpu"), "kvm-hint-dedicated=off"));
}

TEST_CASE("many vCPUs: the machine's limit, KVM's limit, and interrupts for APIC ids above 254") {
  Case one("[cpu]\ncount = 256\npin = \"off\"\n[memory]\nsize = \"1G\"\npage = \"4K\"\n");
  one.host = machine("synthetic-8n-4096");
  one.facts = assumed_facts(one.spec, one.host);
  CHECK(has(value_of(one.plan(), "-accel"), "kernel-irqchip=split"));
  CHECK(value_of(one.plan(), "-device", "intel-iommu") == "intel-iommu,intremap=on,eim=on,dma-translation=off");
  one.facts.cpu.kvm_max_vcpus = 255;
  CHECK(has(one.problems(), "error: cpu.count: 256, but this host's KVM gives a VM at most 255 vCPUs"));
  one.facts.cpu.kvm_max_vcpus = 1024;
  one.spec.cpu.count = 254;
  CHECK(value_of(one.plan(), "-device", "intel-iommu") == "");
  one.spec.cpu.sockets = 127;  // two threads in each of 127 sockets: still below 255
  CHECK(value_of(one.plan(), "-device", "intel-iommu") == "");
  one.spec.cpu.count = 130;
  one.spec.cpu.sockets = 26;  // 5 cores take three bits
  one.spec.cpu.cores = 5;
  CHECK(value_of(one.plan(), "-device", "intel-iommu") == "");
  one.spec.cpu.count = 165;
  one.spec.cpu.sockets = 33;
  CHECK(value_of(one.plan(), "-device", "intel-iommu") != "");
  one.features.known.erase("intel-iommu.eim");
  CHECK(
      has(one.problems(), "error: cpu.count: this topology needs APIC ids up to 260, and this QEMU has no interrupt"));
}

TEST_CASE("scheduling is had, or refused, as this host can") {
  const std::string schedule =
      "[schedule]\nvcpu_fifo = 20\niothread_fifo = 10\ncore = true\nweight = 50\nl3 = \"0=f0\"\n";
  Case one(small + disk + schedule);
  one.host = machine("xeon-2s-144");  // its housekeeping core has two threads
  const LaunchPlan plan = one.plan();
  CHECK(plan.vcpu_fifo == 20);
  CHECK(noted(plan, "kernel.sched_rt_runtime_us = 950000"));
  CHECK(plan.start().child.own_core_cookie);
  CHECK(plan.groups == std::vector<std::string>{"/sys/fs/cgroup/vmrun/vm-db", "/sys/fs/resctrl/vmrun-db"});
  one.facts.cpu.schedule.rt_runtime_us = -1;
  CHECK(!noted(one.plan(), "sched_rt_runtime_us"));
  one.facts.cpu.schedule.fifo_limit = 15;
  CHECK(
      has(one.problems(), "error: schedule.vcpu_fifo: 20, but this user may use SCHED_FIFO up to 15 (RLIMIT_RTPRIO)"));
  one.facts.cpu.schedule.fifo_limit = 0;
  CHECK(has(one.problems(), "error: schedule.iothread_fifo: 10, but this user may not use SCHED_FIFO"));
  one.facts.cpu.schedule.fifo_limit = 99;
  one.spec.cpu.emulator = CpuSet{0};
  CHECK(has(one.problems(), "error: schedule.iothread_fifo: io-disk0 has CPU 0 alone, with QEMU's main loop"));
  one.spec.cpu.emulator.reset();
  one.spec.cpu.pin = topology::Pinning::off;
  CHECK(has(one.problems(), "error: schedule.vcpu_fifo: the vCPUs share their CPUs"));
  one.spec.cpu.pin = topology::Pinning::automatic;
  one.facts.cpu.schedule.core_why = "this kernel has no core scheduling";
  CHECK(has(one.problems(), "error: schedule.core: true, but this kernel has no core scheduling"));
  one.facts.cpu.schedule.core_why = "";
  one.facts.cpu.schedule.cgroup = {"", "this host has no cgroups of version 2", false, {}};
  CHECK(has(one.problems(), "error: schedule.weight: needs a cgroup of the VM's own, but this host has no cgroups"));
  one.facts.cpu.schedule.cgroup = {"/sys/fs/cgroup/system.slice/x.service", "", false, {}};
  CHECK(one.plan().groups.front() == "/sys/fs/cgroup/system.slice/x.service/vm-db");
  one.spec.devices.clear();
  one.facts.devices.clear();
  CHECK(has(one.problems(), "error: schedule.iothread_fifo: this VM has no iothread"));
}

TEST_CASE("a share of the L3s is what the kernel would take") {
  Case one(small + "[schedule]\nl3 = \"0=70;1=7f\"\n");
  CacheFacts& l3 = one.facts.cpu.schedule.l3;
  l3 = {true, true, 0xfff, 2, false, {0, 1}};
  const LaunchPlan plan = one.plan();
  std::vector<Step> writes;
  for (const PlannedStep& step : plan.steps)
    if (std::holds_alternative<ChangeFile>(step.step)) writes.push_back(step.step);
  CHECK(writes == std::vector<Step>{ChangeFile{"/sys/fs/resctrl/vmrun-db/schemata", Word{"L3:0=70", "0=070"}},
                                    ChangeFile{"/sys/fs/resctrl/vmrun-db/schemata", Word{"L3:1=7f", "1=07f"}}});
  const auto refused = [&](unsigned cache, std::uint32_t ways) {
    one.spec.schedule.l3 = {{cache, ways}};
    return one.problems();
  };
  CHECK(has(refused(2, 0xf), "error: schedule.l3: this host has no L3 2; it has 0,1"));
  CHECK(has(refused(0, 0x1f00), "error: schedule.l3: mask 1f00 is beyond the cache's ways, fff"));
  CHECK(has(refused(0, 0x10), "error: schedule.l3: mask 10 has fewer than 2 ways"));
  CHECK(has(refused(0, 0xf0f), "error: schedule.l3: mask f0f has gaps"));
  l3.gaps = true;
  CHECK(refused(0, 0xf0f) == "none");
  one.facts.root = false;
  one.host.nodes[1].pools[0] = {mib(2), 600, 512};
  CHECK(has(refused(0, 0xff), "error: schedule.l3: making a cache group needs root"));
  l3.there = false;
  CHECK(has(refused(0, 0xff), "error: schedule.l3: this host cannot divide its L3 caches"));
}

TEST_CASE("what the machine said about a disk is met or refused") {
  const auto with = [](const std::string& keys, const std::function<void(Disk::Facts&)>& change) {
    Case one(small + disk + keys);
    change(std::get<Disk::Facts>(one.facts.devices[0]));
    return one;
  };
  CHECK(has(with("", [](Disk::Facts& f) { f.exists = false, f.misfit = "there is no file"; }).problems(),
            "error: disk[0].path: there is no file; wanted an image or a block device"));
  CHECK(has(with("", [](Disk::Facts& f) { f.readable = false, f.misfit = "it is closed"; }).problems(),
            "error: disk[0].path: it is closed; wanted an image or a block device that is this user's to open"));
  CHECK(has(with("", [](Disk::Facts& f) { f.chain_problem = "a vmdk image"; }).problems(),
            "error: disk[0].path: a vmdk image"));
  CHECK(has(with("format = \"qcow2\"\n", [](Disk::Facts& f) { f.looks = ""; }).problems(),
            "error: disk[0].format: \"qcow2\", but '/images/a.raw' is no qcow2 image"));
  CHECK(has(with("", [](Disk::Facts& f) { f.direct_io = false; }).problems(),
            "error: disk[0].cache: this cache mode opens with O_DIRECT"));
  const Case threads = with("cache = \"writeback\"\n", [](Disk::Facts& f) {
    f.io_uring = false, f.io_uring_why = "io_uring_setup: Operation not permitted";
  });
  CHECK(has(value_of(threads.plan(), "-blockdev"), "aio=threads"));
  CHECK(noted(threads.plan(), "disk[0].aio: threads instead of io_uring: io_uring_setup: Operation not permitted"));
  const Case chain = with("format = \"qcow2\"\n", [](Disk::Facts& f) {
    f.format = "qcow2", f.chain = {{"/images/mid", "qcow2"}, {"/images/base", "raw"}};
  });
  const LaunchPlan plan = chain.plan();
  std::vector<std::string> opened;
  for (const PlannedStep& step : plan.steps) {
    if (const auto* file = std::get_if<OpenFile>(&step.step); file && file->path != "/dev/kvm")
      opened.push_back(file->path + (file->writable ? " rw" : ""));
  }
  CHECK(opened == std::vector<std::string>{"/images/base", "/images/mid", "/images/a.raw rw"});
  CHECK(has(value_of(plan, "-blockdev", "node-name=disk0-image"), "backing=disk0-backing0"));
}

TEST_CASE("what a disk takes from the device below it, and what is made where there is none") {
  const auto with = [](const std::string& keys, const std::function<void(Disk::Facts&)>& change) {
    Case one("[cpu]\ncount = 4\n[memory]\nsize = \"1G\"\n" + disk + keys);
    auto& facts = std::get<Disk::Facts>(one.facts.devices[0]);
    facts.looked = true;
    change(facts);
    return one;
  };
  const auto device = [](const Case& one) { return value_of(one.plan(), "-device", "id=disk0"); };
  const std::string hardware = "queues = \"hardware\"\n";
  CHECK(has(device(with(hardware, [](Disk::Facts& f) { f.hardware_queues = 2; })), "num-queues=2"));
  CHECK(has(device(with(hardware, [](Disk::Facts& f) { f.hardware_queues = 64; })), "num-queues=4"));
  CHECK(has(with(hardware, [](Disk::Facts&) {}).problems(), "error: disk[0].queues: \"hardware\", but"));
  const Case native = with("", [](Disk::Facts& f) { f.is_block = true, f.logical_block = f.physical_block = 4096; });
  CHECK(!has(device(native), "logical_block_size"));  // SeaBIOS boots no other than 512
  CHECK(has(device(native), "physical_block_size=4096"));
  CHECK(noted(native.plan(),
              "disk[0].logical_block_size: 512 for the disk to boot from, though the block device has 4096"));
  CHECK(!has(device(with("", [](Disk::Facts& f) { f.logical_block = f.physical_block = 512; })), "block_size"));
  const std::string create = "create = { size = \"20G\", preallocation = \"full\" }\n";
  const auto missing = [](Disk::Facts& f) { f.exists = false, f.room = topology::gib(19).count; };
  CHECK(has(with(create, missing).problems(), "error: disk[0].create.size: 19G are free in '/images'"));
  CHECK(has(with(create, [](Disk::Facts& f) { f.exists = false, f.room = topology::gib(20).count, f.qemu_img = ""; })
                .problems(),
            "error: disk[0].create: needs qemu-img"));
  CHECK(
      has(with("ephemeral = true\n", [](Disk::Facts& f) { f.directory_why = "there is no directory '/x'"; }).problems(),
          "error: disk[0].ephemeral: there is no directory '/x'; wanted one where a file can be made"));
  // an image that is there is taken as it is
  for (const PlannedStep& step : with(create, [](Disk::Facts& f) { f.exists = true; }).plan().steps)
    CHECK(!std::holds_alternative<MakeImage>(step.step));
}

TEST_CASE("what only one VM may have is claimed, and refused while another has it") {
  Case one(small + net);
  const LaunchPlan plan = one.plan();
  const std::string mac = "MAC address " + mac_of(plan.name, 0), tap = "tap " + tap_of(plan.name, 0);
  CHECK(plan.reservation.things == std::vector<std::string>{mac, tap, "uid " + std::to_string(plan.uid.value())});
  one.taken.vms.push_back({"other", {}, {}, {mac}});
  CHECK(has(one.problems(), "error: net[0].mac: " + mac + " belongs to VM other"));
}

TEST_CASE("all problems of a plan come together") {
  Case one(small + disk + net + "[boot]\nkernel = \"/k\"\n");
  one.spec.machine = "pc-q35-99.0";
  one.spec.cpu.count = 400;
  std::get<Disk::Facts>(one.facts.devices[0]).exists = false;
  std::get<Nic::Facts>(one.facts.devices[1]).bridge_exists = false;
  one.facts.kernel_misfit = "'/k' is a FIFO";
  const std::string text = one.problems();
  INFO(text);
  CHECK(has(text, "error: machine: "));
  CHECK(has(text, "error: cpu.count: "));
  CHECK(has(text, "error: boot.kernel: "));
}

TEST_CASE("what a VM has is never given to another: 1000 VMs on 4096 PUs") {
  const topology::HostTopology host = machine("synthetic-8n-4096");
  const QemuFeatures features = qemu("11.1");
  Spec spec = spec_of("[cpu]\ncount = 4\n[memory]\nsize = \"256M\"\npage = \"4K\"\n[console]\nmode = \"none\"\n");
  topology::Reservations taken;
  CpuSet given;
  for (int i = 0; i < 1000; ++i) {
    spec.name = fmt::format("vm-{}", i);
    const auto plan = make_plan(spec, host, {}, taken, features, assumed_facts(spec, host));
    REQUIRE_MESSAGE(plan.has_value(), fmt::format("VM {}: {}", i, plan ? "" : render(plan.error(), nullptr, false)));
    CpuSet seats;
    for (const topology::VcpuSeat& seat : plan->placement.vcpus) seats.add(seat.cpu.value());
    REQUIRE(seats.size() == 4);
    REQUIRE(plan->reservation.cpus.contains(seats));
    REQUIRE(!given.intersects(plan->reservation.cpus));
    REQUIRE(!topology::default_housekeeping(host).intersects(seats));
    given |= plan->reservation.cpus;
    taken.vms.push_back(plan->reservation);
  }
  CHECK(given.size() == 4000);
}

TEST_CASE("memory is within the address bits of the CPU that the guest sees") {
  Case one("[cpu]\ncount = 2\nmodel = \"Skylake-Server\"\n[memory]\nsize = \"1G\"\npage = \"4K\"\n");
  for (topology::Node& node : one.host.nodes) node.memory_total = node.memory_free = topology::gib(4096);
  const auto size = [&](std::uint64_t gib, std::uint64_t max = 0) {
    one.spec.memory.size = topology::gib(gib);
    one.spec.memory.max = max == 0 ? std::nullopt : std::optional(topology::gib(max));
  };
  // 2 GiB below 4 GiB, the rest above, and 32 GiB of PCI window end at 1 TiB
  size(990);
  CHECK(!has(value_of(one.plan(), "-cpu"), "phys-bits"));
  size(991);
  CHECK(has(value_of(one.plan(), "-cpu"), "host-phys-bits=on"));
  size(16, 1000);
  CHECK(has(value_of(one.plan(), "-cpu"), "host-phys-bits=on"));
  one.host.cpu_vendor = "AuthenticAMD";  // its hole ends at 1 TiB, and memory from 4 GiB on moves above it
  size(978);
  CHECK(!has(value_of(one.plan(), "-cpu"), "phys-bits"));
  size(979);
  CHECK(has(value_of(one.plan(), "-cpu"), "host-phys-bits=on"));
  one.spec.cpu.model.reset();
  CHECK(!has(value_of(one.plan(), "-cpu"), "phys-bits"));  // "host" has them
  one.facts.cpu.phys_bits = 39;
  CHECK(has(one.problems(),
            "error: memory.size: 979G and the PCI window above it reach beyond the 512G of address space "
            "of this host's CPU (39 bits)\nhelp: set memory.size = \"478G\" or less\n"));
  size(16, 1000);
  CHECK(has(one.problems(), "error: memory.max: 1000G and"));
  one.spec.accel = Accel::tcg;
  one.spec.memory.max = topology::gib(2000);
  CHECK(has(one.problems(),
            "error: memory.max: 2000G and the PCI window above it reach beyond the 1T of address space of "
            "QEMU's emulated CPUs (40 bits)"));
}

TEST_CASE("an AMD guest is told of its shape, whatever the model") {
  Case one("[cpu]\ncount = 4\nthreads = 2\n[memory]\nsize = \"1G\"\npage = \"4K\"\n");
  one.host = machine("xeon-2s-144");
  one.host.cpu_vendor = "AuthenticAMD";
  for (const char* model : {"host", "max", "EPYC-Milan", "qemu64", "Opteron_G5", "phenom", "Haswell"}) {
    one.spec.cpu.model = model;
    const LaunchPlan plan = one.plan();
    CHECK(has(value_of(plan, "-cpu"), ",topoext=on"));
    const bool has_leaf = std::string(model) == "host" || std::string(model) == "max" || has(model, "EPYC");
    CHECK(has(value_of(plan, "-cpu"), "min-xlevel") != has_leaf);
    CHECK(noted(plan, std::string(model) + " is an older one under this host's name") != has_leaf);
  }
  one.facts.cpu.features = std::set<std::string>{"avx2"};
  one.spec.cpu.model = "host";
  one.spec.cpu.add = {"topoext"};
  CHECK(value_of(one.plan(), "-cpu").find("topoext") == value_of(one.plan(), "-cpu").rfind("topoext"));  // once
  one.spec.cpu.threads = 1;
  CHECK(has(value_of(one.plan(), "-cpu"), ",topoext=on"));  // as asked, which a KVM without it in model "host" can do
  one.spec.cpu.add.clear();
  CHECK(!has(value_of(one.plan(), "-cpu"), "topoext"));
  one.spec.cpu.host_caches = true;
  CHECK(has(value_of(one.plan(), "-cpu"), ",topoext=on"));
  one.host.cpu_vendor = "GenuineIntel";  // KVM gives every model the host's vendor
  one.spec.cpu.model = "EPYC";
  CHECK(!has(value_of(one.plan(), "-cpu"), "topoext"));
}

TEST_CASE("VMs of one name on two hosts are two") {
  const std::string spec = small + net;
  Case one(spec), other(spec);
  CHECK(one.plan().uuid == uuid_of("db"));  // a host that is not known
  one.host.own_id = "a";
  other.host.own_id = "b";
  CHECK(one.plan().uuid != other.plan().uuid);
  CHECK(value_of(one.plan(), "-device", "virtio-net") != value_of(other.plan(), "-device", "virtio-net"));
  CHECK(one.plan().uuid == one.plan().uuid);
  one.config.identity_of_name = other.config.identity_of_name = true;
  CHECK(one.plan().uuid == uuid_of("db"));
  CHECK(value_of(one.plan(), "-device", "virtio-net") == value_of(other.plan(), "-device", "virtio-net"));
  one.spec.uuid = "f47ac10b-58cc-4372-a567-0e02b2c3d479";
  CHECK(value_of(one.plan(), "-uuid") == one.spec.uuid);
  one.taken.vms.push_back({"other", {}, {}, {"UUID " + one.spec.uuid}});
  CHECK(has(one.problems(), "error: uuid: UUID f47ac10b-58cc-4372-a567-0e02b2c3d479 belongs to VM other"));
}
