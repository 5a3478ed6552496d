// The run directory: claims, the lock, the ledger; and whatever somebody or a crash left in it.
#include "launcher/steps/vm_dir.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <boost/json/serialize.hpp>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "launcher/steps/ledger.hpp"
#include "tests/fakes/temp_dir.hpp"

namespace {

using namespace launcher;
using topology::gib;
using topology::mib;
namespace fs = std::filesystem;

topology::HostTopology two_nodes() {
  topology::HostTopology host;
  for (unsigned id : {0u, 1u}) {
    topology::Node node;
    node.id = id;
    node.pools = {{mib(2), 1000, 800}, {gib(1), 8, 8}};
    host.nodes.push_back(node);
  }
  return host;
}

const char* plan_text =
    R"({"reservation":{"owner":"db","cpus":"4-7,76","pages":[{"node":1,"page":"2M","pages":512}],"things":[]}})";

}  // namespace

TEST_CASE("where the run directories are") {
  const fakes::Environment given("VMRUN_RUN_DIR", "/somewhere/else");
  CHECK(run_base() == "/somewhere/else");
  {
    const fakes::Environment empty("VMRUN_RUN_DIR", "");
    const fakes::Environment runtime("XDG_RUNTIME_DIR", "/run/user/1000");
    CHECK(run_base() == (geteuid() == 0 ? "/run/vmrun" : "/run/user/1000/vmrun"));
  }
}

TEST_CASE("a name is claimed once; the owner is told") {
  const fakes::TempDir base;
  const auto dir = VmDir::claim(base.path(), "db");
  REQUIRE(dir);
  CHECK(dir->name() == "db");
  CHECK(dir->path() == base.path() / "db");
  CHECK(dir->owner() == process_id(getpid()));
  CHECK(dir->owner_alive());
  const auto again = VmDir::claim(base.path(), "db");
  REQUIRE(!again);
  CHECK(again.error() == "a VM of this name runs already (vmrun pid " + std::to_string(getpid()) + ")");
  fakes::write_file(dir->path() / "owner", R"({"pid":1,"start":1})");
  CHECK(!dir->owner_alive());
  CHECK(VmDir::claim(base.path(), "db").error() == "what a crash left of a VM of this name could not be put back yet");
  dir->remove();
  CHECK(VmDir::claim(base.path(), "db"));
}

TEST_CASE("a pid that was used again is not the owner") {
  const fakes::TempDir base;
  const auto dir = VmDir::claim(base.path(), "db");
  ProcessId self = process_id(getpid()).value();
  self.start += 1;
  fakes::write_file(dir->path() / "owner",
                    "{\"pid\":" + std::to_string(self.pid) + ",\"start\":" + std::to_string(self.start) + "}");
  CHECK(dir->owner() == self);
  CHECK(!dir->owner_alive());
}

TEST_CASE("a broken or missing owner is nobody") {
  const fakes::TempDir base;
  const auto dir = VmDir::claim(base.path(), "db");
  for (const char* text :
       {"", "{", "7", "{}", "{\"pid\":\"1\",\"start\":1}", "{\"pid\":99999999999,\"start\":1}", "[]"}) {
    INFO(std::string(text));
    fakes::write_file(dir->path() / "owner", text);
    CHECK(!dir->owner());
    CHECK(!dir->owner_alive());
  }
  fs::remove(dir->path() / "owner");
  CHECK(!dir->owner_alive());
}

TEST_CASE("directories are listed by name; nothing hostile is taken for one") {
  const fakes::TempDir base;
  CHECK(VmDir::all(base.path()).empty());
  CHECK(VmDir::all(base / "not-there").empty());
  for (const char* name : {"web", "db", "a.b-c_d"}) REQUIRE(VmDir::claim(base.path(), name));
  fakes::write_file(base / "file", "not a directory");
  fs::create_directories(base / ".hidden");
  fs::create_directory_symlink("/nowhere", base / "dangling");
  std::vector<std::string> names;
  for (const VmDir& dir : VmDir::all(base.path())) names.push_back(dir.name());
  CHECK(names == std::vector<std::string>{"a.b-c_d", "db", "web"});
  CHECK(VmDir::find(base.path(), "db"));
  for (const char* name : {"", ".", "..", "../db", "/etc", "db/..", "db/", ".hidden", "file", "gone", "\n", "d\0b"}) {
    INFO(std::string(name));
    CHECK(!VmDir::find(base.path(), name));
  }
  CHECK(!VmDir::find(base.path(), std::string(5000, 'x')));
}

TEST_CASE("the lock is one at a time, and ends with its holder") {
  const fakes::TempDir base;
  const fs::path deep = base / "a/b";
  std::atomic<bool> second{false};
  std::thread waiting;
  {
    const Lock lock(deep);
    const int fd = open((deep / ".lock").c_str(), O_RDWR | O_CLOEXEC);
    CHECK(flock(fd, LOCK_EX | LOCK_NB) < 0);
    close(fd);
    waiting = std::thread([&] {
      const Lock other(deep);
      second = true;
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    CHECK(!second);
  }
  waiting.join();
  CHECK(second);
  CHECK(VmDir::all(deep).empty());  // the lock is no VM
}

TEST_CASE("plan, state and journal are read back; whatever is broken reads as nothing") {
  const fakes::TempDir base;
  const VmDir dir = VmDir::claim(base.path(), "db").value();
  CHECK(!dir.read_plan());
  CHECK(dir.reservation() == topology::Reservation{.owner = "db", .cpus = {}, .pages = {}, .things = {}});
  dir.write_plan(plan_text);
  CHECK(dir.reservation() ==
        topology::Reservation{"db", topology::CpuSet::parse("4-7,76").value(), {{1, mib(2), 512}}, {}});
  State state;
  state.phase = Phase::running;
  state.qemu = ProcessId{42, 4711};
  state.threads = {{43, "vcpu 0", topology::CpuSet{4}}, {44, "iothread io-disk0", topology::CpuSet{5, 76}}};
  state.since = 1'700'000'000;
  state.pages_held = true;
  dir.write_state(state);
  const State back = dir.read_state();
  CHECK(back.phase == state.phase);
  CHECK(back.qemu == state.qemu);
  CHECK(back.threads == state.threads);
  CHECK(back.since == state.since);
  CHECK(back.pages_held);
  CHECK(!back.left.has_value());
  state.left = {"/proc/irq/24/smp_affinity_list stays '2': Input/output error", "b"};
  dir.write_state(state);
  CHECK(dir.read_state().left == state.left);
  for (const char* broken : {"", "{", "[]", "{\"phase\":\"flying\"}", "{\"reservation\":7}"}) {
    INFO(std::string(broken));
    fakes::write_file(dir.path() / "state.json", broken);
    fakes::write_file(dir.path() / "plan.json", broken);
    CHECK(!dir.read_state().qemu);
    CHECK(dir.reservation().cpus.empty());
  }
  for (const auto& entry : fs::directory_iterator(dir.path())) CHECK(entry.path().extension() != ".new");
}

TEST_CASE("the directory's owner mark goes last, so that a crash in between leaves something recover removes") {
  const fakes::TempDir base;
  const VmDir dir = VmDir::claim(base.path(), "db").value();
  dir.write_plan(plan_text);
  fakes::write_file(dir.path() / "deep/er/file", "x");
  const int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  REQUIRE(inotify_add_watch(watch, dir.path().c_str(), IN_DELETE) >= 0);
  dir.remove();
  CHECK(!fs::exists(dir.path()));
  alignas(inotify_event) char bytes[4096];
  const ssize_t size = read(watch, bytes, sizeof bytes);
  close(watch);
  std::vector<std::string> gone;
  for (ssize_t at = 0; at < size;) {
    const auto* event = reinterpret_cast<const inotify_event*>(bytes + at);
    if (event->mask & IN_DELETE) gone.emplace_back(event->name);
    at += static_cast<ssize_t>(sizeof *event + event->len);
  }
  REQUIRE(gone.size() == 3);
  CHECK(gone.back() == "owner");
  dir.remove();  // gone already: fine
}

TEST_CASE("the run directory has to be ours, and nobody else's to write to") {
  const fakes::TempDir base;
  const mode_t before = umask(0);
  const Lock lock(base / "run");
  umask(before);
  struct stat info {};
  REQUIRE(stat((base / "run").c_str(), &info) == 0);
  CHECK((info.st_mode & 07777) == 0755);  // whatever the umask
  {
    const mode_t narrow = umask(077);
    const Lock other(base / "run2");
    umask(narrow);
    REQUIRE(stat((base / "run2").c_str(), &info) == 0);
    CHECK((info.st_mode & 07777) == 0755);
  }
  fs::create_directories(base / "open");
  fs::permissions(base / "open", fs::perms::all);
  CHECK_THROWS_WITH(Lock(base / "open"), doctest::Contains("cannot be believed"));
  fs::create_directory_symlink(base / "run", base / "link");
  CHECK_THROWS_WITH(Lock(base / "link"), doctest::Contains("is no directory of ours"));
  if (geteuid() == 0) {
    fs::create_directories(base / "theirs");
    REQUIRE(chown((base / "theirs").c_str(), 4711, 4711) == 0);
    CHECK_THROWS_WITH(Lock(base / "theirs"), doctest::Contains("is owned by uid 4711"));
  }
}

TEST_CASE("records are regular files: nothing waits for a FIFO, and no link is followed") {
  const fakes::TempDir base;
  const VmDir dir = VmDir::claim(base.path(), "db").value();
  fakes::write_file(base / "elsewhere", plan_text);
  fs::create_symlink(base / "elsewhere", dir.path() / "plan.json");
  CHECK(dir.reservation().cpus.empty());
  CHECK(!dir.unreadable().empty());
  fs::remove(dir.path() / "plan.json");
  REQUIRE(mkfifo((dir.path() / "plan.json").c_str(), 0600) == 0);
  CHECK(dir.reservation().cpus.empty());
  CHECK_THROWS(read_reservations(base.path()));
}

TEST_CASE("what another user wrote costs so many directories and bytes, and no more") {
  const fakes::TempDir base;
  const VmDir first = VmDir::claim(base.path(), "a").value();
  first.write_plan(plan_text);
  fakes::write_file(first.path() / "state.json",
                    R"({"phase":"running","qemu":{"pid":)" + std::to_string(getpid()) + R"(,"start":)" +
                        std::to_string(process_id(getpid()).value().start) +
                        R"(},"helpers":[],"threads":[],"since":1,"pages_held":true,"left":[]})");
  CHECK(reservations_of_others(base.path(), geteuid()).size() == 1);
  CHECK(reservations_of_others(base.path(), geteuid() + 1).empty());  // no process of theirs
  const auto links_of = [&](int count) {
    for (int i = 0; i < count; ++i) {
      const fs::path dir = base / ("b" + std::to_string(i));
      fs::create_directory(dir);
      for (const char* name : {"owner", "plan.json", "state.json"})
        fs::create_hard_link(first.path() / name, dir / name);
    }
  };
  links_of(300);
  CHECK(reservations_of_others(base.path(), geteuid()).size() == 256);
  fakes::write_file(first.path() / "plan.json", plan_text + std::string(20 << 20, ' '));  // of all 301
  CHECK(reservations_of_others(base.path(), geteuid()).size() == 1);
  fakes::write_file(first.path() / "owner", fakes::read_file(first.path() / "owner") + std::string(8192, ' '));
  CHECK(!first.owner());
}

TEST_CASE("the ledger is what the directories say") {
  const fakes::TempDir base;
  CHECK(read_reservations(base.path()).vms.empty());
  const VmDir db = VmDir::claim(base.path(), "db").value();
  const VmDir starting = VmDir::claim(base.path(), "starting").value();
  db.write_plan(plan_text);
  const topology::Reservations taken = read_reservations(base.path());
  REQUIRE(taken.vms.size() == 2);
  CHECK(taken.cpus() == topology::CpuSet::parse("4-7,76").value());
  CHECK(taken.owner_of(76) == "db");
  CHECK(taken.vms[1].owner == "starting");
}

TEST_CASE("pages that a starting VM has claimed and not touched are not free for the next") {
  const fakes::TempDir base;
  const VmDir db = VmDir::claim(base.path(), "db").value();
  db.write_plan(plan_text);
  topology::HostTopology host = two_nodes();
  subtract_pending(host, base.path());
  CHECK(host.pool(1, mib(2))->free == 800 - 512);
  CHECK(host.pool(1, mib(2))->total == 1000);
  CHECK(host.pool(0, mib(2))->free == 800);
  CHECK(host.pool(1, gib(1))->free == 8);

  State state;
  state.pages_held = true;
  db.write_state(state);
  host = two_nodes();
  subtract_pending(host, base.path());  // the kernel counts them now
  CHECK(host == two_nodes());

  state.pages_held = false;
  db.write_state(state);
  host = two_nodes();
  host.nodes[1].pools[0].free = 100;  // fewer than claimed: never below nothing
  subtract_pending(host, base.path());
  CHECK(host.pool(1, mib(2))->free == 0);
}

TEST_CASE("ordinary memory that a VM has claimed and not touched is not free for the next, however long it runs") {
  const fakes::TempDir base;
  const VmDir db = VmDir::claim(base.path(), "db").value();
  db.write_plan(
      R"({"reservation":{"owner":"db","cpus":"","pages":[{"node":1,"page":"4K","pages":262144}],"things":[]}})");
  topology::HostTopology before = two_nodes();
  for (topology::Node& node : before.nodes) node.memory_free = gib(3);
  topology::HostTopology host = before;
  State state;
  state.pages_held = true;
  db.write_state(state);
  subtract_pending(host, base.path());
  CHECK(host.nodes[1].memory_free == gib(2));
  CHECK(host.nodes[0] == before.nodes[0]);
  CHECK(host.nodes[1].pools == before.nodes[1].pools);

  state.qemu = process_id(getpid());  // what it has touched is not free anyway
  db.write_state(state);
  db.write_plan(R"({"reservation":{"owner":"db","cpus":"","pages":[{"node":0,"page":"4K","pages":100}],"things":[]}})");
  host = before;
  subtract_pending(host, base.path());
  CHECK(host == before);
}

TEST_CASE("what a VM's vmrun has filled, and its QEMU not mapped yet, is subtracted once") {
  const fakes::TempDir base;
  const VmDir db = VmDir::claim(base.path(), "db").value();
  db.write_plan(
      R"({"reservation":{"owner":"db","cpus":"","pages":[{"node":1,"page":"4K","pages":262144}],"things":[]}})");
  const Fd file(memfd_create("vmrun node 1 ram0", MFD_CLOEXEC));  // as this process's own, which is the owner
  REQUIRE(fallocate(file.get(), 0, 0, 64 << 20) == 0);
  topology::HostTopology host = two_nodes();
  for (topology::Node& node : host.nodes) node.memory_free = gib(3);
  subtract_pending(host, base.path());
  CHECK(host.nodes[1].memory_free.count == gib(2).count + mib(64).count);
  CHECK(host.nodes[0].memory_free == gib(3));
}

TEST_CASE("what several VMs have to undo is found in the others' journals") {
  const fakes::TempDir base;
  const VmDir db = VmDir::claim(base.path(), "db").value();
  const VmDir web = VmDir::claim(base.path(), "web").value();
  const Undo vfs = RemoveVfs{"0000:81:00.0", 4};
  db.journal().begin(0, vfs);
  CHECK(makers_of_vfs(base.path()) == std::set<std::string>{"0000:81:00.0"});
  CHECK(others_have(base.path(), "web", vfs));
  CHECK(!others_have(base.path(), "db", vfs));
  web.journal().begin(0, vfs);
  CHECK(others_have(base.path(), "db", vfs));
  db.journal().undone(0);
  CHECK(!others_have(base.path(), "web", vfs));
}

TEST_CASE("a name that could not be taken is nobody's") {
  const fakes::TempDir base;
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
  const auto handler = signal(SIGXFSZ, SIG_IGN);
  const rlimit nothing{0, before.rlim_max};
  REQUIRE(setrlimit(RLIMIT_FSIZE, &nothing) == 0);  // as on a full file system
  CHECK_THROWS(static_cast<void>(VmDir::claim(base.path(), "db")));
  REQUIRE(setrlimit(RLIMIT_FSIZE, &before) == 0);
  signal(SIGXFSZ, handler);
  CHECK(VmDir::all(base.path()).empty());
  CHECK(VmDir::claim(base.path(), "db"));
}

TEST_CASE("a record that cannot be written is an error, not silence") {
  const fakes::TempDir base;
  const VmDir dir = VmDir::claim(base.path(), "db").value();
  fs::remove_all(dir.path());
  CHECK_THROWS(dir.write_plan("{}"));
  CHECK_THROWS(dir.journal().begin(0, DropTap{"x"}));
}
