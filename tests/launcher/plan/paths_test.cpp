// Every key of a spec and of host.toml that takes a path, with everything that can stand there: the plan says what it found and what
// is wanted, and nothing hangs. The keys come from the readers themselves: a new one without a row fails.
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <map>
#include <set>

#include "launcher/facts/host_config.hpp"
#include "launcher/plan/plan.hpp"
#include "launcher/spec/read_spec.hpp"
#include "launcher/text/render_problem.hpp"
#include "tests/fakes/temp_dir.hpp"
#include "tests/lacks.hpp"
#include "tests/launcher/plan/spec_of.hpp"
#include "topology/read_host.hpp"

namespace {

using namespace launcher;
namespace fs = std::filesystem;

enum class Thing { fifo, directory, socket, device, missing, closed };
constexpr Thing things[] = {Thing::fifo, Thing::directory, Thing::socket, Thing::device, Thing::missing, Thing::closed};
constexpr const char* words[] = {"FIFO", "directory", "socket", "/dev/zero", "nothing", "something unreadable"};

struct Row {
  std::string toml;                  // @ is the path
  std::string key;                   // where the problem is told
  std::set<Thing> fits = {};         // what gives no problem there
  Thing closed_as = Thing::missing;  // what it is that this user may not use; `missing`: a regular file
  bool of_host = false;              // toml is a spec's, the path is host.toml's
};

const std::map<std::string, Row> rows = {
    {"boot.kernel", {"[boot]\nkernel = \"@\"\n", "boot.kernel"}},
    {"boot.initrd", {"[boot]\nkernel = \"/proc/self/exe\"\ninitrd = \"@\"\n", "boot.initrd"}},
    {"boot.firmware", {"[boot]\nfirmware = \"@\"\n", "boot.firmware"}},
    {"boot.code", {"[boot]\nfirmware = \"uefi\"\ncode = \"@\"\nvariables = \"/proc/self/exe\"\n", "boot.code"}},
    {"boot.variables",
     {"[boot]\nfirmware = \"uefi\"\ncode = \"/proc/self/exe\"\nvariables = \"@\"\n", "boot.variables"}},
    {"pci[].rom_file", {"[[pci]]\naddress = \"0000:00:1f.0\"\nrom_file = \"@\"\n", "pci[0].rom_file"}},
    {"disk[].path", {"[[disk]]\npath = \"@\"\nformat = \"raw\"\n", "disk[0].path"}},
    {"nvdimm[].path", {"[[nvdimm]]\npath = \"@\"\n", "nvdimm[0].path"}},
    {"share[].path", {"[[share]]\npath = \"@\"\ntag = \"t\"\n", "share[0].path", {Thing::directory}, Thing::directory}},
    {"console.log", {"[console]\nlog = \"@\"\n", "console.log", {Thing::missing}}},
    {"serial[].log", {"[[serial]]\nlog = \"@\"\n", "serial[0].log", {Thing::missing}}},
    {"rng.source", {"[rng]\nsource = \"@\"\n", "rng.source"}},
    {"credential[].file", {"[[credential]]\nname = \"a\"\nfile = \"@\"\n", "credential[0].file"}},
    {"cdrom[].path", {"[[cdrom]]\npath = \"@\"\n", "cdrom[0].path"}},
    {"cloud_init.user_data", {"[cloud_init]\nuser_data = \"@\"\n", "cloud_init.user_data"}},
    {"cloud_init.network_config", {"[cloud_init]\nnetwork_config = \"@\"\n", "cloud_init.network_config"}},
    {"display.password_file", {"[display]\nport = 5999\npassword_file = \"@\"\n", "display.password_file"}},
    {"net[].socket", {"[[net]]\nsocket = \"@\"\n", "net[0].socket", {Thing::socket}, Thing::socket}},
    {"net[].device", {"[[net]]\ndevice = \"@\"\n", "net[0].device"}},
    {"host.toml overlays",
     {"[[disk]]\npath = \"/proc/self/exe\"\nformat = \"raw\"\nephemeral = true\n",
      "disk[0].ephemeral",
      {Thing::directory},
      Thing::directory,
      true}},
    {"host.toml virtiofsd", {"[[share]]\npath = \"/\"\ntag = \"t\"\n", "share[0].path", {}, Thing::missing, true}},
    {"host.toml state_dir",
     {"[boot]\nfirmware = \"uefi\"\n", "", {Thing::directory, Thing::missing}, Thing::directory, true}},
};

std::string replaced(std::string text, const std::string& path) {
  const auto at = text.find('@');
  return at == text.npos ? text : text.replace(at, 1, path);
}

struct Place {
  fakes::TempDir dir;
  std::string path = dir / "thing";

  explicit Place(Thing thing, Thing closed_as) {
    fs::permissions(dir.path(), fs::perms(0777));
    if (thing == Thing::device) path = "/dev/zero";
    if (thing == Thing::closed) {
      make(closed_as);
      REQUIRE(chmod(path.c_str(), 0) == 0);
    } else if (thing != Thing::missing) {
      make(thing);
    }
  }

  ~Place() {
    if (socket_ >= 0) close(socket_);
  }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

 private:
  int socket_ = -1;  // whose process lives

  void make(Thing thing) {
    if (thing == Thing::fifo) REQUIRE(mkfifo(path.c_str(), 0666) == 0);
    if (thing == Thing::directory) REQUIRE((mkdir(path.c_str(), 0777) == 0 && chmod(path.c_str(), 0777) == 0));
    if (thing == Thing::missing) fakes::write_file(path, "x");
    if (thing != Thing::socket) return;
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strcpy(address.sun_path, path.c_str());
    socket_ = socket(AF_UNIX, SOCK_STREAM, 0);
    REQUIRE(bind(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(chmod(path.c_str(), 0777) == 0);
  }
};

// The plan's problems as this machine makes them, looked at without root's rights to pass by permissions.
Problems problems_with(const Row& row, const std::string& key, const std::string& path) {
  const Spec spec =
      spec_of("name = \"p\"\n[cpu]\ncount = 1\n[memory]\nsize = \"64M\"\npage = \"4K\"\n" + replaced(row.toml, path));
  HostConfig config;
  if (key == "host.toml overlays") config.overlays = path;
  if (key == "host.toml virtiofsd") config.virtiofsd = path;
  if (key == "host.toml state_dir") config.state_dir = path;
  const bool root = geteuid() == 0;
  if (root) REQUIRE(seteuid(65534) == 0);
  alarm(20);  // what hangs fails
  const Facts facts = gather_facts(spec, config, Cache::read_only);
  alarm(0);
  if (root) REQUIRE(seteuid(0) == 0);
  const auto host = topology::read_host_argument((fs::path(VMRUN_TESTS) / "hosts/rocky-2s.json").string()).value();
  const auto qemu = features_from_json(fakes::read_file(fs::path(VMRUN_TESTS) / "qemu/10.0.json")).value();
  const auto plan = make_plan(spec, host, config, {}, qemu, facts);
  return plan ? Problems{} : plan.error();
}

}  // namespace

TEST_CASE("every key that takes a path says what it found and what is wanted, whatever stands there") {
  std::set<std::string> keys, known;
  for (const KeyInfo& key : spec_keys())
    if (key.is_path) keys.insert(key.path);
  for (const KeyInfo& key : host_config_keys())
    if (key.is_path) keys.insert("host.toml " + key.path);
  for (const auto& [key, row] : rows) known.insert(key);
  CHECK(keys == known);
  for (const auto& [key, row] : rows)
    for (const Thing thing : things) {
      INFO(key, " is ", std::string(words[static_cast<int>(thing)]));
      const Place place(thing, row.closed_as);
      std::string told;
      for (const Problem& problem : problems_with(row, key, place.path))
        if (problem.key == row.key && problem.what.find(place.path) != std::string::npos && told.empty()) {
          told = problem.what;
          CHECK_MESSAGE(told.find("wanted ") != std::string::npos, told);
          CHECK(!problem.help.empty());
        }
      CHECK_MESSAGE(told.empty() == row.fits.contains(thing), told);
    }
}

TEST_CASE("variables that a VM kept are looked at under the name that their template's format gives them") {
  for (const auto& [given, kept] : {std::pair("v.fd", "vars.fd"), std::pair("v.qcow2", "vars.qcow2")}) {
    const fakes::TempDir dir;
    for (const char* name : {"code.fd", given}) fakes::write_file(dir / name, "x");
    fs::create_directories(dir / "state" / "p" / kept);  // a directory: no variables can be in it
    HostConfig config;
    config.state_dir = dir / "state";
    const Spec spec = spec_of("name = \"p\"\n[memory]\nsize = \"64M\"\n[boot]\nfirmware = \"uefi\"\ncode = \"" +
                              (dir / "code.fd").string() + "\"\nvariables = \"" + (dir / given).string() + "\"\n");
    CHECK(gather_facts(spec, config, Cache::read_only).vars_misfit != "");
  }
}
