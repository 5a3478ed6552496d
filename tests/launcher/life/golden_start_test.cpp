// Every golden plan, made for each real QEMU at hand (VMRUN_TEST_QEMUS) and started there, paused, with deprecated input
// rejected. What the golden's machine has and this one has not is stood in for, and nothing else is changed: TCG for KVM,
// memory without huge pages and nodes, scratch files and fresh taps behind the same fd numbers.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "launcher/host/linux_host.hpp"
#include "launcher/life/last_words.hpp"
#include "launcher/life/launch.hpp"
#include "qmp/commands.hpp"
#include "tests/lacks.hpp"
#include "tests/launcher/plan/golden.hpp"

namespace {

namespace fs = std::filesystem;
namespace json = boost::json;
using namespace launcher;

std::vector<std::string> qemus() {
  std::vector<std::string> found;
  const char* given = std::getenv("VMRUN_TEST_QEMUS");
  std::istringstream paths(given != nullptr ? given : "");
  for (std::string path; std::getline(paths, path, ':');) found.push_back(path);
  (void)lacks_tool(!found.empty(), "the QEMUs of VMRUN_TEST_QEMUS");
  return found;
}

// The parts of "head,key=value,key=value"; a comma within a value is doubled.
std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts(1);
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == ',' && i + 1 < text.size() && text[i + 1] == ',')
      parts.back() += text.substr(i++, 2);
    else if (text[i] == ',')
      parts.emplace_back();
    else
      parts.back() += text[i];
  }
  return parts;
}

// Keeps the parts for which `keep` holds.
std::string only(const std::string& text, const std::function<bool(const std::string&)>& keep) {
  std::string kept;
  for (const std::string& part : split(text)) {
    if (keep(part)) kept += (kept.empty() ? "" : ",") + part;
  }
  return kept;
}

std::string without(const std::string& text, const std::set<std::string>& keys) {
  return only(text, [&](const std::string& part) { return !keys.contains(part.substr(0, part.find('='))); });
}

std::string stand_in_cpu(const std::string& value) {
  const std::string kept = only(value, [](const std::string& part) {
    for (const char* kvm_only :
         {"kvm", "hv-", "migratable", "+invtsc", "invtsc", "tsc-frequency", "pmu", "+vmx", "vmx"}) {
      if (part.starts_with(kvm_only)) return false;
    }
    return true;
  });
  return kept.starts_with("host") ? "max" + kept.substr(4) : kept;
}

// TCG's guests have 40 bits of physical address.
constexpr std::uint64_t shrink = 64;

std::string stand_in_object(const std::string& value, bool shrunk, const fs::path& scratch) {
  if (!value.starts_with('{')) return value;
  json::object object = json::parse(value).as_object();
  if (json::value* size = object.if_contains("size"); size != nullptr && shrunk)
    *size = size->to_number<std::uint64_t>() / shrink;
  for (const char* key : {"hugetlb", "hugetlbsize", "host-nodes", "policy", "prealloc", "prealloc-threads",
                          "prealloc-context", "node-affinity", "cpu-affinity"})
    object.erase(key);
  if (object.contains("mem-path")) {  // an NVDIMM's file: of that size, and nothing in it
    const std::string path = (scratch / (std::string(object.at("id").as_string()) + ".img")).string();
    std::ofstream(path).close();
    fs::resize_file(path, object.at("size").to_number<std::uint64_t>());
    object["mem-path"] = path;
  }
  return json::serialize(object);
}

// nullopt: the option needs hardware or a process that only the real launch has.
std::optional<std::string> stand_in(const std::string& option, const std::string& value, bool root, bool shrunk,
                                    const fs::path& scratch) {
  if (option == "-m" && shrunk) {
    const std::uint64_t kib = std::stoull(value) / shrink;
    return fmt::format("{}k{}", kib, value.substr(std::min(value.find(','), value.size())));
  }
  if (option == "-accel") return "tcg,thread=multi";
  if (option == "-cpu") return stand_in_cpu(value);
  if (option == "-object") return stand_in_object(value, shrunk, scratch);
  if (option == "-blockdev" && value.starts_with("driver=host_device,")) return "driver=file," + value.substr(19);
  if (option == "-blockdev" && value.starts_with("driver=qcow2"))
    return "driver=raw," + without(value.substr(13), {"backing", "l2-cache-size"});
  const auto user_network = [&] {
    return "user," + only(value, [](const std::string& part) { return part.starts_with("id="); });
  };
  if (option == "-netdev" && value.starts_with("tap"))
    return root ? without(value, {"vhost", "vhostfd", "vhostfds"}) : user_network();
  // the process or device that would answer is not here; without it the transmit ring has its usual length
  if (option == "-netdev" && (value.starts_with("vhost-user,") || value.starts_with("vhost-vdpa,")))
    return user_network();
  if (option == "-chardev" && value.find("-peer,path=") != value.npos) return std::nullopt;
  if (option == "-device" && value.starts_with("virtio-net-pci,")) return without(value, {"tx_queue_size"});
  if (option == "-device" && value.starts_with("vhost-vsock-pci,")) return std::nullopt;
  for (const char* gone : {"-kernel", "-initrd", "-append", "-bios"}) {
    if (option == gone) return std::nullopt;
  }
  // the host's own devices; their ports, buses and controllers stay
  if (option == "-device" && (value.starts_with("vfio-pci,") || value.starts_with("usb-host,"))) return std::nullopt;
  if (option == "-overcommit")
    return only(value, [](const std::string& part) { return !part.starts_with("mem-lock="); });
  // swtpm is not started: QEMU would wait for its answer
  if (option == "-tpmdev" || (option == "-device" && value.starts_with("tpm-"))) return std::nullopt;
  if (option == "-vnc")
    return "unix:" + (scratch / "vnc.sock").string() + value.substr(std::min(value.find(','), value.size()));
  if (value.starts_with("socket,id=share") || value.starts_with("vhost-user-fs-pci,")) return std::nullopt;
  return value;
}

class Stage {
 public:
  FdLayout layout() const {
    FdLayout layout;
    for (const auto& [number, fd] : fds) layout[number] = fd.get();
    return layout;
  }
  std::map<int, Fd> fds;
  fakes::TempDir dir;

  void open_all(const LaunchPlan& plan) {
    for (const PlannedStep& planned : plan.steps) {
      if (const auto* file = std::get_if<OpenFile>(&planned.step)) open_scratch(*file);
      if (const auto* image = std::get_if<MakeImage>(&planned.step))
        open_scratch({.path = {}, .writable = true, .fd = image->fd, .direct = image->direct});
      if (const auto* usb = std::get_if<TakeUsb>(&planned.step))
        open_scratch({.path = usb->node, .writable = true, .fd = usb->fd});
      if (const auto* socket = std::get_if<Listen>(&planned.step))
        fds[socket->fd] = host_.files.listen((dir.path() / fmt::format("{}.sock", socket->fd)).string(), std::nullopt);
      if (const auto* log = std::get_if<OpenLog>(&planned.step)) {
        const std::string file = (dir.path() / fmt::format("{}.log", log->fd)).string();
        fds[log->fd] = logs_.add({file, host_.files.append_to(file), log->most.count}).take_writer(true);
      }
      if (const auto* file = std::get_if<MakeMemoryFile>(&planned.step)) fds[file->fd] = in_memory();
      if (const auto* volume = std::get_if<MakeVolume>(&planned.step)) fds[volume->fd] = in_memory();
      if (const auto* pair = std::get_if<Pair>(&planned.step)) open_pair(*pair);
      if (const auto* tap = std::get_if<MakeTap>(&planned.step)) open_tap(tap->fds);
      if (const auto* tap = std::get_if<OpenTap>(&planned.step)) open_tap(tap->fds);
      if (const auto* tap = std::get_if<MakeMacvtap>(&planned.step)) open_tap(tap->fds);
    }
  }

 private:
  void open_scratch(const OpenFile& file) {
    const std::string path = (dir.path() / fmt::format("{}.img", file.fd)).string();
    const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    // firmware and its variables must be small; a password must be text
    const std::string text(4096, 'x');
    const bool variables = file.path.ends_with(".fd") || file.path.ends_with("/vars.qcow2");
    const off_t size = !file.writable ? 4096 : variables ? 256 << 10 : 64 << 20;
    REQUIRE(write(fd, text.data(), file.writable ? 0 : text.size()) >= 0);
    REQUIRE(ftruncate(fd, size) == 0);
    close(fd);
    fds[file.fd] = host_.files.open_file(path, file.writable, file.direct);
  }
  Fd in_memory() { return host_.files.memory_file("test", std::string(4096, 'x')); }
  void open_pair(const Pair& pair) {
    int ends[2];
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    fds[pair.fd] = Fd(ends[0]);
    fds[pair.other] = Fd(ends[1]);
  }
  void open_tap(const std::vector<int>& numbers) {
    if (geteuid() != 0) return;
    std::vector<Fd> opened = host_.links.make_tap(fmt::format("vg{}.{}", getpid(), taps_++), numbers.size());
    for (std::size_t i = 0; i < numbers.size(); ++i) fds[numbers[i]] = std::move(opened[i]);
  }

  LinuxHost host_;
  Logs logs_;
  unsigned taps_ = 0;
};

// What QEMU said of this plan; "" when it started without a word of deprecation.
std::string start(const LaunchPlan& plan) {
  Stage stage;
  stage.open_all(plan);
  ChildSpec child;
  child.argv = {plan.qemu, "-compat", "deprecated-input=reject"};
  bool shrunk = false;
  for (const Arg& arg : plan.args) {
    if (arg.option == "-m") shrunk = std::stoull(arg.value) > std::uint64_t{512} << 20;  // KiB
    const std::optional<std::string> value = stand_in(arg.option, arg.value, geteuid() == 0, shrunk, stage.dir.path());
    if (!value || (value->empty() && !arg.value.empty())) continue;
    child.argv.push_back(arg.option);
    if (!arg.value.empty()) child.argv.push_back(*value);
  }
  int monitor[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, monitor) == 0);
  const std::string log = (stage.dir.path() / "log").string();
  const int words = open(log.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  FdLayout fds = stage.layout();
  fds[plan.start().monitor_fd] = monitor[1];
  fds[1] = fds[2] = words;
  const ProcessId qemu = spawn(child, fds, [](const ProcessId&) {});
  close(monitor[1]);
  close(words);
  std::string failure;
  try {
    qmp::Client client(monitor[0]);
    client.handshake(std::chrono::seconds(60));
    qmp::quit(client, std::chrono::seconds(60));
  } catch (const qmp::Error& error) {
    failure = error.what();
    end_process(qemu);
  }
  reap(qemu.pid);
  const std::string said = last_lines(log);
  if (!failure.empty()) return failure + "\n" + said + "\n" + shell_line(child.argv);
  return said.find("deprecated") != said.npos ? said : "";
}

}  // namespace

TEST_CASE("golden: every plan starts on every real QEMU with deprecated input rejected") {
  std::size_t started = 0;
  for (const std::string& binary : qemus()) {
    const auto features = qemu_features(binary, Cache::read_only);
    REQUIRE_MESSAGE(features.has_value(), (features ? "" : features.error()));
    std::size_t refused = 0, here_started = 0;
    for (const fs::path& dir : golden::cases("plan-")) {
      INFO("case ", dir.filename().string(), " on QEMU ", features->version);
      const golden::WorkingDirectory here(dir);
      const auto spec = read_spec("spec.toml", golden::lines_of("set"));
      REQUIRE(spec.has_value());
      const auto plan = golden::plan_of(*spec, golden::host_of("."), *features);
      if (!plan) {  // this QEMU lacks what the spec insists on, and the golden of that is another test
        ++refused;
        continue;
      }
      const bool remaps = std::ranges::any_of(
          plan->args, [](const Arg& arg) { return arg.value.find("kernel-irqchip=split") != std::string::npos; });
      if (remaps && features->version.starts_with("7.")) continue;  // has an x2APIC under KVM only
      CHECK(start(*plan) == "");
      ++here_started;
    }
    started += here_started;
    MESSAGE("QEMU " << features->version << ": " << here_started << " plans started, " << refused << " refused");
    CHECK(here_started >= 20);
  }
  if (!qemus().empty()) CHECK(started >= 60);
}
