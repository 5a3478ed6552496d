// What a QEMU can do: asked of the fake and of every real one, kept beside its identity, and asked again when that changes.
#include "launcher/facts/qemu_features.hpp"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <sstream>
#include <string>
#include <vector>

#include "tests/fakes/temp_dir.hpp"
#include "tests/lacks.hpp"

namespace {

using namespace launcher;
namespace fs = std::filesystem;

std::size_t files_in(const fs::path& dir) {
  std::error_code none;
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(dir, none), {}));
}

// The QEMUs this machine has: VMRUN_TEST_QEMUS, paths with ':' between (scripts/test sets it).
std::vector<std::string> real_qemus() {
  std::vector<std::string> paths;
  const char* list = std::getenv("VMRUN_TEST_QEMUS");
  std::istringstream words(list != nullptr ? list : "");
  for (std::string path; std::getline(words, path, ':');) {
    if (!path.empty()) paths.push_back(path);
  }
  return paths;
}

std::string recorded(const std::string& version) {
  return fakes::read_file(fs::path(VMRUN_TESTS) / "qemu" / (version + ".json"));
}

// The fake QEMU, which behaves so while `when` is there: nothing of our environment reaches it.
void odd_qemu(const std::string& binary, const std::string& behaviour, const std::string& when) {
  fakes::write_file(binary, "#!/bin/sh\n[ ! -e '" + when + "' ] || export FAKE_QEMU='" + behaviour + "'\nexec '" +
                                VMRUN_FAKE_QEMU + "' \"$@\"\n");
  fs::permissions(binary, fs::perms::owner_all);
}

}  // namespace

TEST_CASE("features survive JSON; broken JSON is an error with its place") {
  for (const char* version : {"7.2", "10.0", "11.1"}) {
    const auto features = features_from_json(recorded(version));
    REQUIRE_MESSAGE(features.has_value(), (features ? "" : features.error()));
    CHECK(features->version.starts_with(version));
    CHECK(features->q35 == std::string("pc-q35-") + version);
    CHECK(features->machines.contains(features->q35));
    CHECK(features_from_json(to_json(*features)) == *features);
  }
  CHECK(features_from_json("{").error().starts_with("no JSON: "));
  CHECK(features_from_json("{}").error().starts_with("qemu.binary"));
  CHECK(features_from_json("[]").error() == "qemu: wanted an object");
}

TEST_CASE("the recorded QEMUs differ in what the plan depends on") {
  const auto old = features_from_json(recorded("7.2")).value();
  const auto mid = features_from_json(recorded("10.0")).value();
  const auto now = features_from_json(recorded("11.1")).value();
  for (const QemuFeatures& qemu : {old, mid, now}) {
    for (const char* feature :
         {"accel.kvm", "accel.tcg", "virtio-blk-pci.packed", "virtio-net-pci.packed", "thread-context",
          "memory-backend-memfd.prealloc-context", "aio.io_uring", "machine.hpet", "machine.pit", "netdev.tap"}) {
      INFO(qemu.version, " ", std::string(feature));
      CHECK(qemu.has(feature));
    }
    CHECK(!qemu.has("virtio-blk-pci.no-such-thing"));
    CHECK(!qemu.has(""));
  }
  CHECK(!old.has("virtio-blk-pci.iothread-vq-mapping"));
  CHECK(mid.has("virtio-blk-pci.iothread-vq-mapping"));
  CHECK(!old.has("kvm.device"));
  CHECK(now.has("kvm.device"));
}

TEST_CASE("a QEMU is asked once; the answer is kept until the binary changes") {
  const fakes::TempDir dir;
  const fakes::Environment cache("VMRUN_CACHE_DIR", dir / "cache");
  const std::string binary = dir / "qemu-system-x86_64";
  odd_qemu(binary, "early-exit", binary + ".broken");

  const auto asked = qemu_features(binary, Cache::read_only);
  REQUIRE_MESSAGE(asked.has_value(), (asked ? "" : asked.error()));
  CHECK(asked->binary == binary);
  CHECK(asked->version == "99.9.9");
  CHECK(asked->q35 == "pc-q35-99.9");
  CHECK(asked->machines == std::set<std::string>{"pc-q35-96.1", "pc-q35-99.9"});
  CHECK(asked->deprecated_machines == std::set<std::string>{"pc-q35-96.1"});
  for (const char* feature :
       {"virtio-blk-pci", "virtio-blk-pci.packed", "aio.io_uring", "netdev.passt", "thread-context", "machine.pit"})
    CHECK(asked->has(feature));
  CHECK(asked->limits == std::vector<MachineLimit>{{"pc-q35-96.1", 4096}, {"pc-q35-99.9", 4096}});
  CHECK(asked->cpu_models == std::set<std::string>{"base", "host", "max", "qemu64"});
  CHECK(asked->deprecated_cpu_models == std::set<std::string>{"base"});
  CHECK(asked->cpu_on == std::set<std::string>{"avx2", "sse4-1", "svm", "x2apic"});
  CHECK(asked->cpu_off == std::set<std::string>{"avx512f", "hv-time", "vmx"});
  CHECK(host_cpu_features(binary, Cache::read_only) == asked->cpu_on);
  CHECK(!fs::exists(dir / "cache"));  // a plan writes nothing

  REQUIRE(qemu_features(binary, Cache::store));
  CHECK(files_in(dir / "cache") == 1);
  REQUIRE(host_cpu_features(binary, Cache::store));
  CHECK(files_in(dir / "cache") == 2);
  {
    fakes::write_file(binary + ".broken", "");
    CHECK(qemu_features(binary, Cache::read_only) == *asked);  // a warm start starts no QEMU
    CHECK(host_cpu_features(binary, Cache::read_only) == asked->cpu_on);
    fs::last_write_time(binary, fs::last_write_time(binary) + std::chrono::seconds(1));
    CHECK(!qemu_features(binary, Cache::read_only));
    fs::remove(binary + ".broken");
  }
  REQUIRE(qemu_features(binary, Cache::store));
  CHECK(files_in(dir / "cache") == 3);
  const std::string other = dir / "other";
  fs::copy_file(binary, other);
  REQUIRE(qemu_features(other, Cache::store));
  CHECK(qemu_features(other, Cache::read_only)->binary == other);
  CHECK(files_in(dir / "cache") == 4);
}

TEST_CASE("a broken cache, or one that cannot be written, costs a question and no more") {
  const fakes::TempDir dir;
  const std::string binary = VMRUN_FAKE_QEMU;
  {
    const fakes::Environment cache("VMRUN_CACHE_DIR", dir / "cache");
    const auto asked = qemu_features(binary, Cache::store);
    REQUIRE(asked);
    for (const auto& entry : fs::directory_iterator(dir / "cache")) {
      const std::string whole = fakes::read_file(entry.path());
      for (const std::string& text :
           {std::string(), std::string("x\n{}\n"), whole.substr(0, whole.find('\n') + 1),
            whole.substr(0, whole.size() / 2), whole.substr(0, whole.find('\n')) + "\n{\"binary\":7}\n"}) {
        fakes::write_file(entry.path(), text);
        CHECK(qemu_features(binary, Cache::read_only) == *asked);
      }
      fs::remove(entry.path());
      fs::create_directory(entry.path());  // what was written beside it cannot take its place, and goes
    }
    CHECK(qemu_features(binary, Cache::store) == *asked);
    CHECK(files_in(dir / "cache") == 1);
  }
  fakes::write_file(dir / "file", "in the way");
  const fakes::Environment cache("VMRUN_CACHE_DIR", dir / "file/cache");
  CHECK(qemu_features(binary, Cache::store));
}

TEST_CASE("a QEMU that does not answer is told with its own words, and nothing of it stays") {
  const fakes::TempDir dir;
  const fakes::Environment cache("VMRUN_CACHE_DIR", dir / "cache");
  for (const char* behaviour :
       {"early-exit", "exit-after-greeting", "garbage", "half-line", "die-after=query-machines"}) {
    INFO(std::string(behaviour));
    const std::string binary = dir / "odd-qemu";
    odd_qemu(binary, behaviour, "/");
    const auto features = qemu_features(binary, Cache::store);
    REQUIRE(!features);
    CHECK(features.error().starts_with("QEMU: '" + binary + "' does not answer: "));
    const bool speaks =
        std::string(behaviour).find("exit") != std::string::npos || std::string(behaviour).find("die") == 0;
    CHECK((features.error().find("qemu-system-x86_64: ") != std::string::npos) == speaks);
    errno = 0;
    CHECK((waitpid(-1, nullptr, WNOHANG) == -1 && errno == ECHILD));
  }
  CHECK(!fs::exists(dir / "cache"));
  CHECK(qemu_features("/bin/true", Cache::store).error().starts_with("QEMU: '/bin/true' does not answer: "));
  CHECK(qemu_features("/nowhere/qemu", Cache::store).error().find("No such file") != std::string::npos);
}

TEST_CASE("the binary is a path, or a name in PATH") {
  const fakes::TempDir dir;
  fs::copy_file(VMRUN_FAKE_QEMU, dir / "my-qemu");
  fs::create_symlink("my-qemu", dir / "link");
  fakes::write_file(dir / "no-program", "x");
  CHECK(find_qemu(dir / "my-qemu") == (dir / "my-qemu").string());
  CHECK(find_qemu(dir / "link") == (dir / "my-qemu").string());
  CHECK(find_qemu(dir / "no-program").error().find("cannot be executed") != std::string::npos);
  const fakes::Environment path("PATH", "/nowhere::" + dir.path().string());
  CHECK(find_qemu("my-qemu") == (dir / "my-qemu").string());
  CHECK(find_qemu("no-such-qemu").error() ==
        "QEMU: no 'no-such-qemu' in PATH; install it (Debian: apt install qemu-system-x86), or set qemu in "
        "/etc/vmrun/host.toml");
}

TEST_CASE("every real QEMU here answers, as recorded for its version") {
  const fakes::TempDir dir;
  const fakes::Environment cache("VMRUN_CACHE_DIR", dir / "cache");
  if (lacks_tool(!real_qemus().empty(), "QEMU in VMRUN_TEST_QEMUS")) return;
  for (const std::string& path : real_qemus()) {
    INFO(path);
    const auto features = qemu_features(path, Cache::store);
    REQUIRE_MESSAGE(features.has_value(), (features ? "" : features.error()));
    CHECK(qemu_features(path, Cache::read_only) == *features);
    CHECK(features->machines.contains(features->q35));
    for (const char* version : {"7.2", "10.0", "11.1"}) {
      if (!features->version.starts_with(std::string(version) + ".")) continue;
      const QemuFeatures kept = features_from_json(recorded(version)).value();
      CHECK(features->known == kept.known);
      CHECK(features->machines == kept.machines);
      CHECK(features->deprecated_machines == kept.deprecated_machines);
      CHECK(features->limits == kept.limits);
      CHECK(features->cpu_models == kept.cpu_models);
      CHECK(features->cpu_on == kept.cpu_on);
      CHECK(features->cpu_off == kept.cpu_off);
    }
  }
}
