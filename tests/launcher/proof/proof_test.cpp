// The proofs against composed files and this very process: what holds is held, what was moved is lost, what is not there is neither.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <liburing.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "launcher/host/fd.hpp"
#include "launcher/proof/proofs.hpp"
#include "launcher/proof/rings.hpp"
#include "launcher/proof/subject.hpp"
#include "tests/lacks.hpp"
#include "topology/page_location.hpp"

namespace launcher::inline proof {

namespace {

namespace fs = std::filesystem;

constexpr pid_t qemu = 4711;

// A QEMU that is nothing but files below a directory of its own.
struct Composed {
  fs::path root = fs::temp_directory_path() / fmt::format("vmrun-proof-{}", getpid());
  Subject subject;
  Composed() {
    fs::remove_all(root);
    subject.root = topology::Sysfs(root);
    subject.qemu = qemu;
    subject.plan.run_dir = "/run/vmrun/a";
  }
  ~Composed() { fs::remove_all(root); }
  void file(const std::string& path, const std::string& text) const {
    fs::create_directories((root.string() + path).substr(0, (root.string() + path).rfind('/')));
    std::ofstream(root.string() + path) << text << "\n";
  }
  void fd(int number, const std::string& target) {
    const fs::path dir = root / fmt::format("proc/{}/fd", qemu);
    fs::create_directories(dir);
    fs::create_symlink(target, dir / std::to_string(number));
    subject.files = open_files(subject);
  }
  void arg(const std::string& option, const std::string& value) {
    subject.plan.args.push_back({option, value, "", ""});
  }
};

const Row* row(const std::vector<Row>& rows, const std::string& what) {
  const auto found = std::find_if(rows.begin(), rows.end(), [&](const Row& one) { return one.what == what; });
  return found == rows.end() ? nullptr : &*found;
}

Outcome outcome_of(const std::vector<Row>& rows, const std::string& what) {
  const Row* found = row(rows, what);
  REQUIRE_MESSAGE(found != nullptr, what);
  return found->outcome;
}

}  // namespace

TEST_CASE("an argument's keys, with quoted commas, and JSON") {
  const auto keys = keys_of("virtio-blk-pci,id=disk0,serial=a,,b,packed=on");
  CHECK(keys.at("") == "virtio-blk-pci");
  CHECK(keys.at("serial") == "a,b");
  CHECK(keys.at("packed") == "on");
  CHECK(keys_of(R"({"driver": "virtio-net-pci", "mq": true, "vectors": 6})").at("mq") == "on");
}

TEST_CASE("a thread that was moved, and one whose policy was changed, are named") {
  Composed composed;
  const auto all = topology::get_affinity(0);
  REQUIRE(all);
  const topology::CpuSet first{all->to_vector().front()};
  std::jthread worker([](const std::stop_token& stop) {
    while (!stop.stop_requested()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  });
  pid_t tid = 0;
  for (const auto& task : fs::directory_iterator("/proc/self/task"))
    tid = std::max(tid, static_cast<pid_t>(std::stoi(task.path().filename().string())));
  std::string stat = "1 (CPU 0/TCG) S 1 1 1 0 -1 64";  // no PF_NO_SETAFFINITY
  for (int field = 10; field < 53; ++field) stat += " 0";
  composed.file(fmt::format("/proc/{}/stat", tid), stat);
  composed.subject.threads = {{tid, "CPU 0/TCG", "vcpu 0", true}};
  composed.subject.state.threads = {{tid, "vcpu 0", first, 0}};
  composed.subject.plan.placement.vcpus = {{0, first.to_vector().front(), 0}};
  REQUIRE(!topology::set_affinity(tid, first));
  const std::string what = fmt::format("vcpu 0 ({})", tid);
  CHECK(outcome_of(prove_threads(composed.subject), what + ": CPUs") == Outcome::held);
  CHECK(outcome_of(prove_threads(composed.subject), what + ": scheduling") == Outcome::held);
  composed.subject.state.threads[0].fifo = 1;
  CHECK(outcome_of(prove_threads(composed.subject), what + ": scheduling") == Outcome::lost);
  if (all->size() > 1) {
    REQUIRE(!topology::set_affinity(tid, *all));
    CHECK(outcome_of(prove_threads(composed.subject), what + ": CPUs") == Outcome::lost);
    composed.subject.threads[0].name = "iou-wrk-4711";
    CHECK(outcome_of(prove_threads(composed.subject), what + ": CPUs") == Outcome::kernel_keeps);
  }
  composed.subject.threads.clear();
  CHECK(outcome_of(prove_threads(composed.subject), what) == Outcome::lost);
}

TEST_CASE("a group above that comes after others, or is held back, is named; one with all that is usual is not") {
  Composed composed;
  composed.subject.threads = {{20, "CPU 0/KVM", "vcpu 0", true}};
  composed.file("/proc/20/cgroup", "0::/low/vm");
  const std::string above = "/sys/fs/cgroup/low";
  composed.file("/sys/fs/cgroup/cgroup.controllers", "cpu memory");
  for (const std::string& group : {above, above + "/vm"}) {
    composed.file(group + "/cpu.weight", "100");
    composed.file(group + "/cpu.idle", "0");
    composed.file(group + "/cpu.max", "max 100000");
    composed.file(group + "/cgroup.events", "populated 1\nfrozen 0");
  }
  CHECK(prove_limits(composed.subject).empty());
  composed.file(above + "/cpu.weight", "99");
  composed.file(above + "/vm/cpu.idle", "1");
  const auto rows = prove_limits(composed.subject);
  CHECK(rows.size() == 2);
  CHECK(row(rows, "share of CPU time of " + above)->is == "99");
  CHECK(row(rows, "share of CPU time of " + above + "/vm")->is == "idle");
  composed.file(above + "/cpu.weight", "100");
  composed.file(above + "/vm/cpu.idle", "0");
  for (const std::string& group : {above, above + "/vm"})
    composed.file(group + "/cgroup.events", "populated 1\nfrozen 1");
  composed.file(above + "/cgroup.freeze", "1");
  composed.file(above + "/vm/cgroup.freeze", "0");
  REQUIRE(prove_limits(composed.subject).size() == 1);
  CHECK(row(prove_limits(composed.subject), "state of " + above)->is == "frozen");
}

TEST_CASE("memory on another node, and in other pages, is lost") {
  Composed composed;
  composed.subject.plan.placement.page = topology::Bytes{2U << 20};
  composed.subject.plan.placement.cells = {{0, {1}, topology::Bytes{8U << 20}, {0}}};
  topology::MappedRange range;
  range.file = "/anon_hugepage";
  range.huge = true;
  range.page = topology::Bytes{2U << 20};
  range.pages_on_node = {{1, 4}};
  composed.subject.maps = {range};
  CHECK(count(prove_memory(composed.subject), Outcome::lost) == 0);
  composed.subject.maps[0].pages_on_node = {{0, 1}, {1, 3}};
  auto rows = prove_memory(composed.subject);
  CHECK(outcome_of(rows, "guest memory on other nodes") == Outcome::lost);
  CHECK(outcome_of(rows, "guest memory on node 1") == Outcome::lost);
  composed.subject.maps = {};
  CHECK(outcome_of(prove_memory(composed.subject), "guest memory") == Outcome::not_checked);
  composed.subject.no_maps = "permission denied";
  CHECK(outcome_of(prove_memory(composed.subject), "memory on its nodes") == Outcome::not_checked);
}

TEST_CASE("each of the guest's nodes has its memory where it is bound") {
  Composed composed;
  topology::Placement& placement = composed.subject.plan.placement;
  placement.page = topology::Bytes{2U << 20};
  placement.cells = {{0, {0}, topology::Bytes{4U << 20}, {0}}, {1, {1}, topology::Bytes{4U << 20}, {1}}};
  topology::MappedRange range;
  range.file = "/anon_hugepage";
  range.huge = true;
  range.page = topology::Bytes{2U << 20};
  range.policy = "bind:0";
  range.pages_on_node = {{0, 2}};
  composed.subject.maps = {range, range};
  composed.subject.maps[1].policy = "bind=static:1";
  composed.subject.maps[1].pages_on_node = {{1, 2}};
  CHECK(count(prove_memory(composed.subject), Outcome::lost) == 0);
  std::swap(composed.subject.maps[0].policy, composed.subject.maps[1].policy);
  CHECK(outcome_of(prove_memory(composed.subject), "guest memory on other nodes") == Outcome::lost);
  CHECK(outcome_of(prove_memory(composed.subject), "memory of the guest's node 1") == Outcome::not_checked);
  CHECK(row(prove_memory(composed.subject), "memory of the guest's node 1")->wanted == "bind on node 1");
}

TEST_CASE("an image through the page cache is lost, one whose flags are not to be read is not checked") {
  Composed composed;
  composed.arg("-add-fd", "fd=12,set=12,opaque=/d.raw");
  composed.arg("-blockdev", "driver=file,node-name=disk0-image,filename=/dev/fdset/12,aio=io_uring,cache.direct=on");
  const std::string what = "/d.raw: past the page cache";
  CHECK(outcome_of(prove_images(composed.subject), what) == Outcome::not_checked);
  composed.fd(3, "/d.raw");
  CHECK(outcome_of(prove_images(composed.subject), what) == Outcome::not_checked);
  composed.file("/proc/4711/fdinfo/3", "pos:\t0\nflags:\t02140002");
  CHECK(outcome_of(prove_images(composed.subject), what) == Outcome::held);
  CHECK(outcome_of(prove_images(composed.subject), "/d.raw: requests by io_uring") ==
        Outcome::not_checked);               // nobody to ask
  composed.fd(20, "anon_inode:[io_uring]");  // a ring of no known size, and of nobody
  CHECK(outcome_of(prove_images(composed.subject), "/d.raw: requests by io_uring") == Outcome::not_checked);
  composed.file("/proc/4711/fdinfo/3", "pos:\t0\nflags:\t02100002");
  CHECK(outcome_of(prove_images(composed.subject), what) == Outcome::lost);
}

TEST_CASE("a ring proves nothing of an image until a request for it has gone through") {
  Composed composed;  // of this process, whose ring it is
  const std::string path = (fs::canonical(fs::temp_directory_path()) / fmt::format("vmrun-ring-{}", getpid())).string();
  std::ofstream(path) << std::string(4096, 'a');
  const Fd image(open(path.c_str(), O_RDWR | O_CLOEXEC)), other(open("/dev/null", O_RDWR | O_CLOEXEC));
  REQUIRE(image);
  composed.subject.root = topology::Sysfs("/");
  composed.subject.qemu = getpid();
  composed.arg("-add-fd", "fd=12,set=12,opaque=" + path);
  composed.arg("-blockdev", "driver=file,node-name=disk0-image,filename=/dev/fdset/12,aio=io_uring,cache.direct=off");
  io_uring ring{};
  if (const int error = io_uring_queue_init(4, &ring, 0); error < 0) {
    (void)lacks(false, std::string("io_uring: ") + strerror(-error));
  } else {
    const std::string what = path + ": requests by io_uring";
    const auto ask_by_ring = [&](int fd) {
      std::array<char, 16> buffer{};
      io_uring_prep_read(io_uring_get_sqe(&ring), fd, buffer.data(), buffer.size(), 0);
      REQUIRE(io_uring_submit_and_wait(&ring, 1) == 1);
      io_uring_cqe* done = nullptr;
      REQUIRE(io_uring_wait_cqe(&ring, &done) == 0);
      io_uring_cqe_seen(&ring, done);
    };
    composed.subject.files = open_files(composed.subject);
    CHECK(requests_in_rings(composed.subject, composed.subject.files).whole);
    CHECK(outcome_of(prove_images(composed.subject), what) == Outcome::not_checked);
    ask_by_ring(other.get());
    CHECK(outcome_of(prove_images(composed.subject), what) == Outcome::not_checked);
    ask_by_ring(image.get());
    CHECK(outcome_of(prove_images(composed.subject), what) == Outcome::held);
    const Requests seen = requests_in_rings(composed.subject, composed.subject.files);
    CHECK(seen.files == std::set<int>{image.get(), other.get()});
    CHECK(seen.unread == "");
    for (int i = 0; i < 4; ++i) ask_by_ring(other.get());  // it has come round
    CHECK(!requests_in_rings(composed.subject, composed.subject.files).whole);
    CHECK(outcome_of(prove_images(composed.subject), what) == Outcome::not_checked);
    io_uring_queue_exit(&ring);
  }
  fs::remove(path);
}

TEST_CASE("a queue that is off, and a bridge with a smaller MTU, are lost") {
  Composed composed;
  composed.arg("-netdev", "tap,id=net0-host,fds=12:13,vhost=on,vhostfds=14:15");
  composed.arg("-device", "virtio-net-pci,id=net0,netdev=net0-host,host_mtu=9000");
  composed.file("/proc/4711/fdinfo/12", "pos:\t0\niff:\ttap0");
  composed.file("/proc/4711/fdinfo/13", "pos:\t0\niff:\ttap0");
  for (const char* queue : {"rx-0", "rx-1", "tx-0", "tx-1"})
    composed.file(fmt::format("/sys/class/net/tap0/queues/{}/file", queue), "");
  composed.fd(14, "/dev/vhost-net");
  composed.fd(15, "/dev/vhost-net");
  composed.file("/sys/class/net/tap0/mtu", "9000");
  composed.file("/sys/devices/br0/mtu", "9000");
  composed.file("/sys/class/net/br0/mtu", "9000");
  fs::create_symlink("../br0", composed.root / "sys/class/net/tap0/master");
  CHECK(count(prove_networks(composed.subject), Outcome::lost) == 0);
  CHECK(count(prove_networks(composed.subject), Outcome::held) == 4);
  fs::remove_all(composed.root / "sys/class/net/tap0/queues/rx-1");  // the fd goes on to name the interface
  fs::remove_all(composed.root / "sys/class/net/tap0/queues/tx-1");
  composed.file("/sys/class/net/br0/mtu", "1500");
  const auto rows = prove_networks(composed.subject);
  CHECK(outcome_of(rows, "net0: queues in use") == Outcome::lost);
  CHECK(outcome_of(rows, "net0: MTU of br0") == Outcome::lost);
  CHECK(outcome_of(rows, "net0: MTU of tap0") == Outcome::held);
}

TEST_CASE("another user, rights, and a file that is not the plan's are lost") {
  Composed composed;
  composed.subject.plan.uid = 60001;
  composed.subject.threads = {{qemu, "qemu", "emulator", true}};
  composed.arg("-sandbox", "on,obsolete=deny");
  composed.subject.record = {{"steps", {{{"path", "/images/d.raw"}}}}};
  const std::string good =
      "Uid:\t60001\t60001\t60001\t60001\nGid:\t60001\t60001\t60001\t60001\nCapPrm:\t0000000000000000\n"
      "CapEff:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2";
  composed.file("/proc/4711/status", good);
  composed.file("/proc/4711/task/4711/status", good);
  composed.fd(12, "/images/d.raw");
  composed.fd(13, "socket:[77]");
  auto rows = prove_security(composed.subject);
  CHECK(count(rows, Outcome::held) == 7);
  CHECK(count(rows, Outcome::lost) == 0);
  composed.fd(14, "/etc/shadow");
  composed.file("/proc/4711/task/4711/status",
                "CapPrm:\t0000000000000400\nCapEff:\t0000000000000400\nNoNewPrivs:\t0\nSeccomp:\t0");
  composed.file("/proc/4711/status", "Uid:\t0\t0\t0\t0\nGid:\t60001\t60001\t60001\t60001");
  rows = prove_security(composed.subject);
  CHECK(count(rows, Outcome::lost) == 6);
  REQUIRE(row(rows, "open files") != nullptr);
  CHECK(row(rows, "open files")->is == "14: /etc/shadow");
}

TEST_CASE("the vfio devices of the plan's functions are the plan's files, another's are not") {
  Composed composed;
  composed.subject.record = {{"steps", {{{"path", "/dev/iommu"}}}}};
  composed.subject.steps = {OpenVfio{.address = "0000:81:00.0", .fd = 15},
                            OpenVfio{.address = "0000:82:00.0", .fd = std::nullopt}};
  composed.file("/sys/bus/pci/devices/0000:81:00.0/vfio-dev/vfio3/dev", "511:3");
  fs::create_directories(composed.root / "sys/bus/pci/devices/0000:82:00.0");
  fs::create_symlink("../../kernel/iommu_groups/17", composed.root / "sys/bus/pci/devices/0000:82:00.0/iommu_group");
  composed.fd(14, "/dev/iommu");
  composed.fd(15, "/dev/vfio/devices/vfio3");
  composed.fd(16, "/dev/vfio/17");
  CHECK(outcome_of(prove_security(composed.subject), "open files") == Outcome::held);
  composed.fd(17, "/dev/vfio/devices/vfio4");
  composed.fd(18, "/dev/vfio/18");
  CHECK(row(prove_security(composed.subject), "open files")->is == "17: /dev/vfio/devices/vfio4, 18: /dev/vfio/18");
}

TEST_CASE("a kernel file that somebody else changed, and others on the VM's own CPUs") {
  Composed composed;
  composed.subject.steps = {ChangeFile{"/sys/kernel/mm/ksm/run", Value{"1", "0"}},
                            ChangeFile{"/sys/fs/resctrl/vmrun-db/schemata", Word{"L3:1=f", "1=00f"}},
                            ChangeFile{"/proc/irq/24/smp_affinity_list", Cpus{{2, 3}, {}, {}}}};
  composed.subject.plan.pinned = true;
  composed.subject.plan.placement.exclusive = {2, 3};
  composed.file("/sys/kernel/mm/ksm/run", "0");
  composed.file("/sys/fs/resctrl/vmrun-db/schemata", "    L3:0=ff0;1=00f");
  composed.file("/proc/irq/24/smp_affinity_list", "0-1");
  composed.file("/proc/irq/25/smp_affinity_list", "0-3");
  CHECK(count(prove_host(composed.subject), Outcome::lost) == 0);
  composed.file("/sys/kernel/mm/ksm/run", "1");
  composed.file("/proc/irq/24/smp_affinity_list", "0-2");
  composed.file("/proc/irq/25/smp_affinity_list", "3");
  const auto rows = prove_host(composed.subject);
  CHECK(outcome_of(rows, "/sys/kernel/mm/ksm/run") == Outcome::lost);
  CHECK(outcome_of(rows, "/proc/irq/24/smp_affinity_list") == Outcome::lost);
  CHECK(row(rows, "others' interrupts on CPUs 2-3")->is == "25 on 3");
  composed.subject.state.left = {"/proc/irq/240/smp_affinity_list stays '2': Input/output error"};  // another's
  CHECK(outcome_of(prove_host(composed.subject), "/proc/irq/24/smp_affinity_list") == Outcome::lost);
  composed.subject.state.left->push_back("/proc/irq/24/smp_affinity_list stays '0-2': Input/output error");
  CHECK(outcome_of(prove_host(composed.subject), "/proc/irq/24/smp_affinity_list") == Outcome::kernel_keeps);
  composed.subject.state.left.reset();
  composed.file("/sys/kernel/debug/irq/irqs/24", "dstate: IRQD_AFFINITY_MANAGED");
  CHECK(outcome_of(prove_host(composed.subject), "/proc/irq/24/smp_affinity_list") == Outcome::kernel_keeps);
}

TEST_CASE("the accelerator is what the kernel has open for QEMU, whoever answers there") {
  Composed composed;
  composed.subject.plan.accel = "kvm";
  CHECK(outcome_of(prove_guest(composed.subject), "accelerator") == Outcome::not_checked);
  composed.fd(3, "/dev/kvm");
  CHECK(outcome_of(prove_guest(composed.subject), "accelerator") == Outcome::lost);
  composed.fd(4, "anon_inode:kvm-vm");
  CHECK(outcome_of(prove_guest(composed.subject), "accelerator") == Outcome::held);
  composed.subject.plan.accel = "tcg";
  CHECK(outcome_of(prove_guest(composed.subject), "accelerator") == Outcome::lost);
}

TEST_CASE("QEMU is asked ahead for what the proofs will ask, and not for what ends it") {
  Composed composed;
  const auto names = [&] {
    std::vector<std::string> all;
    for (const ::qmp::Command& one : questions(composed.subject)) all.push_back(one.name);
    return all;
  };
  composed.subject.plan.accel = "tcg";
  composed.subject.plan.placement.page = topology::Bytes{4096};
  CHECK(names() == std::vector<std::string>{"query-status", "query-cpus-fast"});
  composed.subject.plan.placement.cells = {{0, {0}, topology::gib(1), {0}}, {1, {1}, topology::gib(1), {1}}};
  CHECK(names() == std::vector<std::string>{"query-memdev", "query-status", "query-cpus-fast"});
  composed.subject.plan.placement.cells.pop_back();
  composed.subject.plan.accel = "kvm";
  composed.subject.plan.placement.page = topology::Bytes{2U << 20};
  composed.arg("-device", "virtio-blk-pci,id=disk0,iothread=io0");
  composed.arg("-device", R"({"driver": "virtio-rng-pci", "id": "rng0"})");
  composed.subject.plan.qemu_version = "10.0.2";
  CHECK(names() == std::vector<std::string>{"query-stats", "x-query-virtio-status", "qom-get", "x-query-virtio-status",
                                            "query-status", "query-cpus-fast"});
  CHECK(questions(composed.subject)[1].arguments.at("path") == "/machine/peripheral/disk0/virtio-backend");
  composed.subject.plan.qemu_version = "11.1.0";
  CHECK(names() == std::vector<std::string>{"query-stats", "qom-get", "query-status", "query-cpus-fast"});
}

TEST_CASE("QEMU is asked for a disk's reads where its rings show no request for it, and of nothing else") {
  Composed composed;
  composed.arg("-add-fd", "fd=3,set=1,opaque=/vm/a.img");
  composed.arg("-blockdev", R"({"driver":"file","node-name":"a","filename":"/dev/fdset/1","aio":"threads"})");
  CHECK(questions_of_images(composed.subject).empty());
  composed.arg("-add-fd", "fd=4,set=2,opaque=/vm/b.img");
  composed.arg("-blockdev", R"({"driver":"file","node-name":"b","filename":"/dev/fdset/2","aio":"io_uring"})");
  REQUIRE(questions_of_images(composed.subject).size() == 1);
  CHECK(questions_of_images(composed.subject).front().name == "query-blockstats");
}

TEST_CASE("what is otherwise inside the guest is lost; what its agent did not say is not checked") {
  Composed composed;
  CHECK(prove_guest_settings(composed.subject).empty());
  composed.subject.plan.guest = {
      {"guest.swappiness", "vm.swappiness", "10", "file", {"/proc/sys/vm/swappiness"}},
      {"guest.hugepages", "vm.nr_hugepages", "4", "file", {"/proc/sys/vm/nr_hugepages"}},
      {"guest.rq_affinity", "rq_affinity", "2", "file", {"/sys/block/vd*/queue/rq_affinity"}}};
  CHECK(count(prove_guest_settings(composed.subject), Outcome::not_checked) == 3);
  composed.subject.guest_rows = "1\t10\t/proc/sys/vm/swappiness\n2\t3\t/proc/sys/vm/nr_hugepages\n";
  const auto rows = prove_guest_settings(composed.subject);
  CHECK(outcome_of(rows, "vm.swappiness") == Outcome::held);
  CHECK(outcome_of(rows, "vm.nr_hugepages") == Outcome::lost);
  CHECK(row(rows, "vm.nr_hugepages")->is == "3");
  CHECK(row(rows, "vm.nr_hugepages")->where == "/proc/sys/vm/nr_hugepages of the guest");
  CHECK(outcome_of(rows, "rq_affinity") == Outcome::not_checked);
  CHECK(prove(composed.subject).back().what == "rq_affinity");
}

}  // namespace launcher::proof
