// See qemu_probe.hpp.
#include "launcher/facts/qemu_probe.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/json/value.hpp>
#include <cerrno>
#include <chrono>
#include <optional>
#include <system_error>

#include "launcher/host/fd.hpp"
#include "launcher/host/process.hpp"
#include "qmp/commands.hpp"

namespace launcher::inline facts {

namespace {

constexpr std::chrono::seconds patience{30};

// What is asked of a QEMU: raise probe_generation when this list changes, so that old caches are asked again.
constexpr std::array probed_devices = {"virtio-blk-pci",
                                       "virtio-scsi-pci",
                                       "scsi-hd",
                                       "nvme",
                                       "nvme-ns",
                                       "virtio-net-pci",
                                       "vhost-user-fs-pci",
                                       "vhost-vsock-pci",
                                       "virtio-rng-pci",
                                       "virtio-balloon-pci",
                                       "virtio-mem-pci",
                                       "virtio-pmem-pci",
                                       "nvdimm",
                                       "pvpanic-pci",
                                       "vfio-pci",
                                       "pxb-pcie",
                                       "pcie-root-port",
                                       "virtio-serial-pci",
                                       "virtserialport",
                                       "i6300esb",
                                       "tpm-crb",
                                       "tpm-tis",
                                       "qemu-xhci",
                                       "usb-host",
                                       "isa-serial",
                                       "VGA",
                                       "virtio-vga",
                                       "vhost-user-blk-pci",
                                       "intel-iommu"};
constexpr std::array probed_objects = {"memory-backend-memfd", "memory-backend-ram",
                                       "memory-backend-file",  "memory-backend-shm",
                                       "thread-context",       "iothread",
                                       "rng-random",           "rng-builtin",
                                       "throttle-group",       "iommufd"};
constexpr std::array probed_accels = {"kvm", "tcg"};

class Probe {
 public:
  explicit Probe(const std::string& binary, const std::vector<std::string>& more = {}) {
    std::array<int, 2> ends{}, pipe{};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) < 0) refuse("socketpair");
    client_.emplace(ends[0]);
    const Fd monitor(ends[1]);
    if (pipe2(pipe.data(), O_CLOEXEC) < 0) refuse("pipe");
    words_ = Fd(pipe[0]);
    const Fd said(pipe[1]), null(open("/dev/null", O_RDONLY | O_CLOEXEC));
    ChildSpec child;
    child.argv = {binary,
                  "-M",
                  "none",
                  "-nodefaults",
                  "-no-user-config",
                  "-display",
                  "none",
                  "-S",
                  "-chardev",
                  "socket,id=control,fd=10",
                  "-qmp",
                  "chardev:control"};
    child.argv.insert(child.argv.end(), more.begin(), more.end());
    process_ =
        spawn(child, {{0, null.get()}, {1, said.get()}, {2, said.get()}, {10, monitor.get()}}, [](const ProcessId&) {});
  }
  ~Probe() {
    client_.reset();
    if (process_) {
      end_process(*process_);
      reap(process_->pid);
    }
  }
  Probe(const Probe&) = delete;
  Probe& operator=(const Probe&) = delete;

  QemuFeatures ask(const std::string& binary) {
    QemuFeatures features;
    const qmp::Greeting greeting = client_->handshake(patience);
    features.binary = binary;
    features.version = fmt::format("{}.{}.{}", greeting.major, greeting.minor, greeting.micro);
    ask_machines(features);
    for (const char* device : probed_devices)
      note(features, device, qmp::device_list_properties(*client_, device, patience));
    for (const char* object : probed_objects)
      note(features, object, qmp::qom_list_properties(*client_, object, patience));
    if (!features.q35.empty())
      note(features, "machine", qmp::qom_list_properties(*client_, features.q35 + "-machine", patience));
    for (const char* accel : probed_accels) {
      const auto properties = qmp::qom_list_properties(*client_, std::string(accel) + "-accel", patience);
      if (properties) features.known.insert(std::string("accel.") + accel);
      note(features, accel, properties);
    }
    if (qmp::option_type(*client_, "overcommit", "mem-lock", patience) == "string")  // was on or off before 10.0
      features.known.insert("overcommit.on-fault");
    ask_schema(features);
    ask_cpus(features);
    quit();
    return features;
  }

  // What model "host" has; with `-accel kvm`.
  std::set<std::string> ask_host_cpu() {
    client_->handshake(patience);
    const auto switches = qmp::query_cpu_model_expansion(*client_, "host", patience);
    quit();
    if (!switches) throw std::runtime_error("it has no model \"host\"");
    std::set<std::string> on;
    for (const auto& [name, is_on] : *switches)
      if (is_on && is_feature(name)) on.insert(name);
    return on;
  }

  // What QEMU printed before it gave up.
  std::string words() const {
    std::string text(4096, '\0');
    fcntl(words_.get(), F_SETFL, O_NONBLOCK);
    const ssize_t got = read(words_.get(), text.data(), text.size());
    text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    while (!text.empty() && text.back() == '\n') text.pop_back();
    return text;
  }

 private:
  void quit() {
    try {
      qmp::quit(*client_, patience);
    } catch (const qmp::Error&) {
      // it is ended in any case
    }
  }

  // Not QEMU's switches for itself, nor second spellings: the spec's names have '-' where those have '_'.
  static bool is_feature(const std::string& name) {
    return !name.starts_with("x-") && name != "realized" && name.find('_') == std::string::npos;
  }

  void ask_cpus(QemuFeatures& features) {
    for (const qmp::CpuModel& model : qmp::query_cpu_definitions(*client_, patience)) {
      features.cpu_models.insert(model.name);
      if (model.deprecated) features.deprecated_cpu_models.insert(model.name);
    }
    const auto switches = qmp::query_cpu_model_expansion(*client_, "max", patience);
    if (!switches) return;
    for (const auto& [name, on] : *switches)
      if (is_feature(name)) (on ? features.cpu_on : features.cpu_off).insert(name);
  }

  static void note(QemuFeatures& features, const std::string& type,
                   const std::optional<std::vector<std::string>>& properties) {
    if (!properties) return;
    features.known.insert(type);
    for (const std::string& property : *properties) features.known.insert(fmt::format("{}.{}", type, property));
  }

  void ask_machines(QemuFeatures& features) {
    std::vector<qmp::MachineType> machines = qmp::query_machines(*client_, patience);
    std::sort(machines.begin(), machines.end(),
              [](const qmp::MachineType& a, const qmp::MachineType& b) { return a.name < b.name; });
    for (const qmp::MachineType& machine : machines) {
      if (machine.alias == "q35") features.q35 = machine.name;
      if (!machine.name.starts_with("pc-q35-")) continue;
      features.machines.insert(machine.name);
      features.limits.push_back({machine.name, machine.cpu_max});
      if (machine.deprecated) features.deprecated_machines.insert(machine.name);
    }
  }

  // The schema's type names are numbers, so types are found by what they hold.
  void ask_schema(QemuFeatures& features) {
    const boost::json::value schema = qmp::query_qmp_schema(*client_, patience);
    for (const boost::json::value& entry : schema.as_array()) {
      const boost::json::object& type = entry.as_object();
      if (type.at("meta-type").as_string() == "object") note_socket(features, type.at("members").as_array());
      if (type.at("meta-type").as_string() != "enum") continue;
      std::set<std::string> values;
      for (const boost::json::value& value : type.at("values").as_array())
        values.insert(std::string(value.as_string()));
      if (values.contains("threads") && values.contains("native")) note_values(features, "aio", values);
      if (values.contains("tap") && values.contains("vhost-user")) note_values(features, "netdev", values);
    }
  }

  // Of -chardev socket: what it does when the other side goes.
  static void note_socket(QemuFeatures& features, const boost::json::array& members) {
    std::set<std::string> names;
    for (const boost::json::value& member : members) names.insert(std::string(member.at("name").as_string()));
    if (!names.contains("addr") || !names.contains("telnet")) return;
    for (const char* name : {"reconnect", "reconnect-ms"})
      if (names.contains(name)) features.known.insert(fmt::format("chardev.{}", name));
  }

  static void note_values(QemuFeatures& features, const std::string& what, const std::set<std::string>& values) {
    for (const std::string& value : values) features.known.insert(fmt::format("{}.{}", what, value));
  }

  std::optional<qmp::Client> client_;
  std::optional<ProcessId> process_;
  Fd words_;
};

}  // namespace

std::expected<QemuFeatures, std::string> ask_qemu(const std::string& binary) {
  std::optional<Probe> probe;
  try {
    probe.emplace(binary);
    QemuFeatures features = probe->ask(binary);
    if (features.q35.empty())
      return std::unexpected(fmt::format("QEMU: '{}' has no q35 machine; is it qemu-system-x86_64?", binary));
    return features;
  } catch (const std::exception& error) {
    const std::string words = probe ? probe->words() : "";
    return std::unexpected(
        fmt::format("QEMU: '{}' does not answer: {}{}{}", binary, error.what(), words.empty() ? "" : "\n", words));
  }
}

std::expected<std::set<std::string>, std::string> ask_host_cpu(const std::string& binary) {
  try {
    Probe probe(binary, {"-accel", "kvm"});
    return probe.ask_host_cpu();
  } catch (const std::exception& error) {
    return std::unexpected(fmt::format("QEMU does not tell: {}", error.what()));
  }
}

}  // namespace launcher::facts
