// Whole specs, their defaults, the rules between keys, and that reference.toml, the schema and the readers agree.
#include "launcher/spec/read_spec.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "launcher/text/render_problem.hpp"

using launcher::Console;
using launcher::Disk;
using launcher::Nic;
using launcher::Problems;
using launcher::Spec;
using launcher::TomlDocument;

namespace fs = std::filesystem;

namespace {

const fs::path configs = fs::path(VMRUN_TESTS).parent_path() / "configs";

std::string read_file(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

struct Read {
  Spec spec;
  Problems problems;
};

Read read(std::string_view text, const std::vector<std::string>& overrides = {},
          const std::string& file = "/vm/db.toml") {
  const auto document = TomlDocument::parse(text, file, overrides);
  if (!document) {
    FAIL(launcher::render(document.error().problems, &document.error().document, false));
  }
  Read result;
  result.spec = launcher::read_document(*document, result.problems);
  return result;
}

// Keys of the problems, in the order found.
std::string keys_of(std::string_view text, const std::vector<std::string>& overrides = {}) {
  std::string keys;
  for (const auto& problem : read("memory.size = \"4G\"\n" + std::string(text), overrides).problems)
    keys += problem.key + " ";
  return keys;
}

std::set<std::string> keys_in_schema(const boost::json::object& table, const std::string& prefix) {
  std::set<std::string> keys;
  for (const auto& [name, value] : table.at("properties").as_object()) {
    const std::string path = prefix + std::string(name);
    keys.insert(path);
    const boost::json::object& schema = value.as_object();
    if (schema.contains("properties")) keys.merge(keys_in_schema(schema, path + "."));
    if (schema.contains("items") && schema.at("items").as_object().contains("properties"))
      keys.merge(keys_in_schema(schema.at("items").as_object(), path + "[]."));
  }
  return keys;
}

// Every "key =" and [table] of reference.toml, commented out or not.
std::set<std::string> keys_in_reference() {
  std::set<std::string> keys;
  std::string table;
  std::ifstream stream(configs / "reference.toml");
  for (std::string line; std::getline(stream, line);) {
    if (line.starts_with("#")) line.erase(0, 1);
    const std::size_t end = line.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_.[]");
    const std::string word = line.substr(0, end);
    if (word.starts_with("[["))
      keys.insert(word.substr(2, word.size() - 4)), table = word.substr(2, word.size() - 4) + "[].";
    else if (word.starts_with("[")) {
      std::string path = word.substr(1, word.size() - 2);
      if (const std::size_t dot = path.find('.'); dot != path.npos) path.insert(dot, "[]");  // [disk.limit]
      keys.insert(path), table = path + ".";
    } else if (!word.empty() && line.substr(word.size()).starts_with(" = "))
      keys.insert(table + word);
  }
  return keys;
}

// reference.toml with every key in use.
std::string uncommented_reference() {
  std::string text;
  std::ifstream stream(configs / "reference.toml");
  for (std::string line; std::getline(stream, line);) {
    if (line.starts_with("#") && line.size() > 1 && line[1] != ' ') line.erase(0, 1);
    // base.toml is nobody's; bridge rules out tap; vf_of rules out address, mdev and class, and so node; id rules out port; a credential's value its file
    bool fits = true;
    for (const char* key : {"include", "tap", "address =", "mdev =", "class =", "node =", "port =", "file = \"secret"})
      fits = fits && !line.starts_with(key);
    if (fits) text += line + "\n";
  }
  return text;
}

}  // namespace

TEST_CASE("the smallest spec is one line, and all else has a default") {
  const Read smallest = read("memory.size = \"512M\"\n");
  CHECK(smallest.problems.empty());
  Spec expected;
  expected.name = "db";
  expected.memory.size = topology::mib(512);
  expected.devices = {Console{}};
  CHECK(smallest.spec == expected);
}

TEST_CASE("a whole spec") {
  const Read whole = read(R"(
name = "web-1.test"
machine = "pc-q35-7.2"
accel = "kvm"
extra_args = ["-device", "virtio-rng-pci"]
[cpu]
count = 4
model = "host"
threads = 2
sockets = 1
cores = 2
pin = [4, 6, 5, 7]
emulator = "0-1"
kind = "performance"
siblings = "require"
add = ["avx2"]
remove = ["sse4_1"]
require = ["aes", "x2apic"]
nested = true
pmu = false
dedicated = true
poll_control = false
pm = true
host_caches = true
l1 = "core"
l2 = "die"
l3 = "socket"
[clock]
base = "localtime"
drift_fix = "slew"
hpet = true
pit = false
kvmclock = true
invtsc = false
tsc_frequency = 2500000000
[hyperv]
relaxed = true
time = false
spinlocks = 4095
[schedule]
vcpu_fifo = 20
iothread_fifo = 10
core = true
weight = 200
quota = 150
l3 = "0=f0;1=ff"
[memory]
size = "8GiB"
page = "2m"
nodes = "0-1"
policy = "interleave"
prealloc = true
lock = true
[[disk]]
path = "images/a.qcow2"
format = "qcow2"
cache = "writeback"
aio = "threads"
queues = 2
iothread = false
packed = false
discard = false
read_only = true
serial = "A1"
[[disk]]
path = "/dev/disk/by-id/x"
[[net]]
bridge = "br0"
vhost = true
queues = 4
packed = false
mac = "52:54:00:AB:CD:EF"
mtu = 9000
[[net]]
[console]
mode = "socket"
[boot]
kernel = "vmlinuz"
initrd = "/boot/initrd"
cmdline = "a b"
firmware = "../fw.fd"
)");
  CHECK(launcher::render(whole.problems, nullptr, false).empty());
  const Spec& spec = whole.spec;
  CHECK(spec.name == "web-1.test");
  CHECK(spec.machine == "pc-q35-7.2");
  CHECK(spec.accel == launcher::Accel::kvm);
  CHECK(spec.extra_args == std::vector<std::string>{"-device", "virtio-rng-pci"});
  CHECK(spec.cpu == launcher::CpuSpec{4,
                                      "host",
                                      2,
                                      1,
                                      2,
                                      topology::Pinning::listed,
                                      {4, 6, 5, 7},
                                      topology::CpuSet{0, 1},
                                      topology::CpuKindChoice::fastest,
                                      {},
                                      false,
                                      topology::Siblings::require,
                                      {"avx2"},
                                      {"sse4-1"},
                                      {"aes", "x2apic"},
                                      true,
                                      false,
                                      true,
                                      false,
                                      true,
                                      true,
                                      launcher::CacheLevel::core,
                                      launcher::CacheLevel::die,
                                      launcher::CacheLevel::socket});
  CHECK(spec.clock == launcher::ClockSpec{launcher::RtcBase::localtime, launcher::DriftFix::slew, true, false, true,
                                          false, 2'500'000'000});
  CHECK(spec.hyperv == launcher::HypervSpec{{{"relaxed", true}, {"time", false}}, "", 4095});
  CHECK(spec.schedule == launcher::ScheduleSpec{20, 10, true, 200, 150, {{0, 0xf0}, {1, 0xff}}});
  CHECK(!spec.windows);
  CHECK(spec.memory == launcher::MemorySpec{topology::gib(8), topology::mib(2), std::vector<unsigned>{0, 1},
                                            topology::MemoryPolicy::interleave, true, false,
                                            launcher::MemorySpec::Lock::on, false, false, false, std::nullopt});
  REQUIRE(spec.devices.size() == 5);
  Disk first;
  first.path = "/vm/images/a.qcow2";
  first.format = "qcow2";
  first.cache = Disk::Cache::writeback;
  first.aio = Disk::Aio::threads;
  first.queues = 2;
  first.iothread = first.packed = false;
  first.discard = false;
  first.read_only = true;
  first.serial = "A1";
  CHECK(std::get<Disk>(spec.devices[0]) == first);
  Disk second;
  second.path = "/dev/disk/by-id/x";
  CHECK(std::get<Disk>(spec.devices[1]) == second);
  CHECK(std::get<Nic>(spec.devices[2]) == Nic{.mode = Nic::Mode::tap,
                                              .bridge = "br0",
                                              .vhost = true,
                                              .queues = 4,
                                              .packed = false,
                                              .mac = "52:54:00:ab:cd:ef",
                                              .mtu = 9000,
                                              .guest_bus = {}});
  CHECK(std::get<Nic>(spec.devices[3]) == Nic{});
  CHECK(std::get<Console>(spec.devices[4]) == Console{Console::Mode::socket, ""});
  CHECK(spec.boot == launcher::BootSpec{.kernel = "/vm/vmlinuz",
                                        .initrd = "/boot/initrd",
                                        .cmdline = "a b",
                                        .firmware = "/fw.fd",
                                        .order = {"disk", "cdrom"},
                                        .code = "",
                                        .variables = ""});
}

TEST_CASE("auto is absence") {
  CHECK(read(R"(
accel = "auto"
cpu = { model = "auto", threads = "auto", sockets = "auto", cores = "auto", pin = "auto", emulator = "auto", kind = "auto" }
memory = { size = "512M", page = "auto", nodes = "auto", prealloc = "auto" }
)")
            .spec == read("memory.size = \"512M\"").spec);
  CHECK(read("cpu.pin = \"off\"\nmemory.size = \"1G\"").spec.cpu.pin == topology::Pinning::off);
}

TEST_CASE("names") {
  const auto good = [](const std::string& name) { return keys_of("", {"name='" + name + "'"}).empty(); };
  for (const char* name : {"a", "0", "db", "Web-1.test_2", "a..b"}) CHECK(good(name));
  CHECK(good(std::string(63, 'a')));
  for (const char* name : {"", ".", "..", "-a", ".a", "_a", "a/b", "a b", "ä", "a\nb", "../../etc"}) {
    INFO(name);
    CHECK(!good(name));
  }
  CHECK(!good(std::string(64, 'a')));
  CHECK(!good(std::string(300, 'a')));
  // from the file's name
  CHECK(read("memory.size = \"1G\"", {}, "/x/db.prod.toml").spec.name == "db.prod");
  CHECK(read("memory.size = \"1G\"", {}, "/x/my vm.toml").problems.at(0).key == "name");
  CHECK(read("memory.size = \"1G\"", {}, "/x/my vm.toml").problems.at(0).help.starts_with("set name = \"my-vm\""));
  CHECK(read("memory.size = \"1G\"", {}, "/dev/fd/63").spec.name == "63");
}

TEST_CASE("paths: relative to the file, anything but NUL") {
  const auto path = [](const std::string& set) {
    return std::get<Disk>(read("memory.size = \"1G\"\n[[disk]]\npath = " + set).spec.devices[0]).path;
  };
  CHECK(path("\"a\"") == "/vm/a");
  CHECK(path("\"../a\"") == "/a");
  CHECK(path("\"/a/../b\"") == "/a/../b");  // absolute ones stay: a link may be on the way
  CHECK(path("\"~/a\"") == "/vm/~/a");
  CHECK(path("\"a\\nb,c=d\"") == "/vm/a\nb,c=d");
  CHECK(path("\"\\u0000\"") == "");
}

TEST_CASE("rules between keys") {
  CHECK(keys_of("cpu = { count = 8, sockets = 2, cores = 2, threads = 2 }") == "");
  CHECK(keys_of("cpu = { count = 8, sockets = 2, cores = 4, threads = 2 }") == "cpu.count ");
  CHECK(keys_of("cpu = { count = 8, cores = 4 }") == "");
  CHECK(keys_of("cpu = { count = 8, cores = 3 }") == "cpu.cores ");
  CHECK(keys_of("cpu = { count = 7, threads = 2 }") == "cpu.threads ");
  CHECK(keys_of("cpu = { count = 4, sockets = 4096, cores = 4096 }") == "cpu.cores ");
  CHECK(keys_of("cpu = { count = 2, pin = \"4-5\" }") == "");
  CHECK(keys_of("cpu = { count = 2, pin = [4] }") == "cpu.pin ");
  CHECK(keys_of("cpu = { count = 2, pin = [4, 4] }") == "cpu.pin[1] ");
  CHECK(keys_of("accel = \"tcg\"\ncpu.model = \"host\"") == "cpu.model ");
  CHECK(keys_of("accel = \"tcg\"\ncpu.model = \"max\"") == "");
  for (const char* machine : {"q35", "pc-q35-7.2", "pc-q35-10.0"})
    CHECK(keys_of("machine = \"" + std::string(machine) + "\"") == "");
  for (const char* machine :
       {"", "pc", "microvm", "pc-q35-", "pc-q35-7", "pc-q35-7.x", "q35,accel=tcg", "pc-q35-7.2.1"})
    CHECK(keys_of("machine = \"" + std::string(machine) + "\"") == "machine ");
  CHECK(keys_of("", {"memory.size=4097M", "memory.page=2M"}) == "memory.size ");
  CHECK(keys_of("", {"memory.size=4097M", "memory.page=4K"}) == "");
  CHECK(keys_of("", {"memory.size=1048577"}) == "memory.size ");
  CHECK(keys_of("", {"memory.page=2M", "memory.prealloc=false"}) == "memory.prealloc ");
  CHECK(keys_of("", {"memory.page=4K", "memory.prealloc=false"}) == "");
  CHECK(keys_of("", {"memory.nodes=[1, 0, 1]"}) == "memory.nodes[2] ");
  CHECK(keys_of("boot.initrd = \"x\"") == "boot.initrd ");
  CHECK(keys_of("boot = { initrd = \"x\", kernel = \"k\", firmware = \"f\" }") == "");
}

TEST_CASE("rules of disks") {
  const auto disk = [](const std::string& keys) {
    return keys_of("cpu.count = 4\ndisk = [{ path = \"a\"" + (keys.empty() ? keys : ", " + keys) + " }]");
  };
  CHECK(disk("") == "");
  for (const char* cache : {"writeback", "writethrough", "unsafe"}) {
    CHECK(disk("aio = \"native\", cache = \"" + std::string(cache) + "\"") == "disk[0].aio ");
    CHECK(disk("aio = \"io_uring\", cache = \"" + std::string(cache) + "\"") == "");
  }
  for (const char* cache : {"none", "directsync"})
    CHECK(disk("aio = \"native\", cache = \"" + std::string(cache) + "\"") == "");
  CHECK(disk("queues = 4") == "");
  CHECK(disk("queues = 5") == "disk[0].queues ");
  CHECK(disk("queues = 1025") == "disk[0].queues ");
  CHECK(disk("serial = \"12345678901234567890\"") == "");
  CHECK(disk("serial = \"123456789012345678901\"") == "disk[0].serial ");
  CHECK(disk("serial = \"ä\"") == "disk[0].serial ");
  CHECK(keys_of("disk = [{ path = \"a\" }, { path = \"./a\" }]") == "disk[1].path ");
  CHECK(keys_of("disk = [{ path = \"a\" }, { path = \"a\", read_only = true }]") == "disk[1].path ");
  CHECK(keys_of("disk = [{ path = \"a\", read_only = true }, { path = \"a\", read_only = true }]") == "");
  CHECK(keys_of("disk = [{ path = \"a\", serial = \"x\" }, { path = \"b\", serial = \"x\" }]") == "disk[1].serial ");
  CHECK(keys_of("disk = [{}]") == "disk[0].path ");
}

TEST_CASE("rules of network cards") {
  const auto net = [](const std::string& keys) { return keys_of("cpu.count = 4\nnet = [{ " + keys + " }]"); };
  CHECK(net("") == "");
  CHECK(net("bridge = \"br0\"") == "");
  CHECK(net("mode = \"tap\", tap = \"tap0\", queues = 4, vhost = true, mtu = 9000") == "");
  CHECK(net("mode = \"tap\"") == "net[0].mode ");
  CHECK(net("mode = \"user\", bridge = \"br0\"") == "net[0].bridge ");
  CHECK(net("mode = \"user\", tap = \"tap0\"") == "net[0].tap ");
  CHECK(net("bridge = \"br0\", tap = \"tap0\"") == "net[0].bridge ");
  CHECK(net("vhost = true") == "net[0].vhost ");
  CHECK(net("vhost = false") == "");
  CHECK(net("queues = 2") == "net[0].queues ");
  CHECK(net("bridge = \"br0\", queues = 5") == "net[0].queues ");
  CHECK(net("bridge = \"br0\", packed = true") == "");
  CHECK(net("bridge = \"br0\", packed = true, vhost = true") == "net[0].packed ");
  CHECK(net("bridge = \"br0\", packed = true, vhost = false") == "");
  for (const char* mtu : {"67", "65536", "0", "-1"}) CHECK(net("mtu = " + std::string(mtu)) == "net[0].mtu ");
  for (const char* mac : {"52:54:00:12:34", "52-54-00-12-34-56", "525400123456", "52:54:00:12:34:5g",
                          "01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00", "52:54:00:12:34:56 "})
    CHECK(net("mac = \"" + std::string(mac) + "\"") == "net[0].mac ");
  for (const char* name : {"a/b", "a b", "..", "sixteen-bytes-xx", "a\\nb"})
    CHECK(net("bridge = \"" + std::string(name) + "\"") == "net[0].bridge ");
  CHECK(keys_of("net = [{ mac = \"52:54:00:12:34:ab\" }, { mac = \"52:54:00:12:34:AB\" }]") == "net[1].mac ");
  CHECK(keys_of("net = [{ tap = \"t\" }, { tap = \"t\" }]") == "net[1].tap ");
}

TEST_CASE("extra_args: what vmrun decides itself is refused") {
  const auto args = [](const std::string& list) { return keys_of("extra_args = [" + list + "]"); };
  CHECK(args("\"-device\", \"usb-ehci\", \"-qmp\", \"unix:/x,server\"") == "");
  for (const char* option :
       {"-S",          "-daemonize", "-runas",     "-chroot",  "-sandbox", "-name",       "-nodefaults", "-accel",
        "-machine",    "-M",         "-cpu",       "-smp",     "-m",       "-enable-kvm", "--smp",       "-numa",
        "-kernel",     "-append",    "-run-with",  "-bios",    "-uuid",    "-rtc",        "-boot",       "--uuid",
        "-readconfig", "-pidfile",   "-snapshot",  "-display", "-vga",     "-add-fd",     "-incoming",   "-loadvm",
        "-overcommit", "-set",       "-preconfig", "-pflash"})
    CHECK(args("\"" + std::string(option) + "\"") == "extra_args[0] ");
  for (const char* one : {"-m 4G", "-rtc base=utc", "-rtc=base=utc", "-device=usb-ehci", "-device usb-ehci", "",
                          "---smp", "-", "--", "disk.img"})
    CHECK(args("\"" + std::string(one) + "\"") == "extra_args[0] ");
  CHECK(args("\"-smbios\", \"type=1,uuid=x\"") == "extra_args[1] ");
  CHECK(args("\"-device\"") == "extra_args[0] ");                // its value is missing
  CHECK(args("\"-no-reboot\", \"a.img\"") == "extra_args[1] ");  // QEMU would take that for a disk
  CHECK(args("\"-fw_cfg\", \"-S\", \"-s\"") == "");              // a value may begin with a dash
  CHECK(args("\"-mon\", \"chardev=x\", \"-s\"") == "");          // only whole names
  CHECK(args("\"-of-a-later-qemu\", \"x=y\", \"-s\"") == "");
}

TEST_CASE("a wrong key does not make other keys look wrong") {
  CHECK(keys_of("cpu.count = \"4\"\ndisk = [{ path = \"a\", queues = 4 }]") == "cpu.count ");
  CHECK(keys_of("cpu.cuont = 4\ndisk = [{ path = \"a\", queues = 4 }]") == "cpu.cuont ");
  CHECK(keys_of("cpus.count = 4\ndisk = [{ path = \"a\", queues = 4 }]") == "cpus ");
  CHECK(keys_of("cpu.count = 4\ncpu.pin = [1, 2, \"3\", 4]") == "cpu.pin[2] ");
  CHECK(keys_of("[[cpu]]\ncount = 4\n[[net]]\nbridge = \"b\"\nqueues = 4") == "cpu ");
}

TEST_CASE("reference.toml, the schema and the readers know the same keys") {
  std::set<std::string> readable;
  for (const launcher::KeyInfo& key : launcher::spec_keys()) CHECK(readable.insert(key.path).second);
  CHECK(keys_in_reference() == readable);
  CHECK(keys_in_schema(boost::json::parse(launcher::json_schema()).as_object(), "") == readable);
}

TEST_CASE("reference.toml is a spec, as it stands and with every key in use") {
  const auto as_it_stands = launcher::read_spec(configs / "reference.toml", {});
  REQUIRE(as_it_stands);
  CHECK(as_it_stands->spec.memory.size == topology::gib(4));
  Spec smallest = read("memory.size = \"4G\"", {}, (configs / "reference.toml").string()).spec;
  CHECK(as_it_stands->spec == smallest);
  const auto document = TomlDocument::parse(uncommented_reference(), "reference.toml");
  if (!document) {
    FAIL(launcher::render(document.error().problems, &document.error().document, false));
  }
  Problems problems;
  const Spec spec = launcher::read_document(*document, problems);
  // One card has one mode: what the comments show beside it belongs to the others.
  for (const launcher::Problem& problem : problems) {
    INFO(problem.key, ": ", problem.what);
    CHECK(problem.key.starts_with("net[0]."));
    CHECK(problem.what.starts_with("mode \"user\" has no "));
  }
  CHECK(problems.size() == 11);
  CHECK(spec.devices.size() == 20);
}

TEST_CASE("configs/vmrun.schema.json is what the readers say") {
  const fs::path file = configs / "vmrun.schema.json";
  if (std::getenv("VMRUN_UPDATE_GOLDEN")) std::ofstream(file, std::ios::binary) << launcher::json_schema();
  CHECK(read_file(file) == launcher::json_schema());
}

TEST_CASE("all problems come together") {
  const auto document =
      TomlDocument::parse("a = 1\n[cpu]\ncount = 0\nb = 2\n[[disk]]\n[[disk]]\nc = 3\n[boot]\ninitrd = 5\n", "x.toml");
  Problems problems;
  launcher::read_document(*document, problems);
  std::vector<std::string> keys;
  for (const auto& problem : problems) keys.push_back(problem.key);
  std::sort(keys.begin(), keys.end());
  CHECK(keys == std::vector<std::string>{"a", "boot.initrd", "cpu.b", "cpu.count", "disk[0].path", "disk[1].c",
                                         "disk[1].path", "memory.size"});
}
