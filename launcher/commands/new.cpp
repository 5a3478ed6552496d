// `vmrun new`: a short spec that fits this host, and a disk beside it. The rule: it asks nothing and overwrites nothing; what it could
// not finish it takes away again.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "launcher/commands/commands.hpp"
#include "launcher/commands/inputs.hpp"
#include "launcher/commands/output.hpp"
#include "launcher/commands/reach.hpp"
#include "launcher/devices/cloud_init.hpp"
#include "launcher/devices/vsock.hpp"
#include "launcher/facts/default_route.hpp"
#include "launcher/facts/path_look.hpp"
#include "launcher/facts/port_holder.hpp"
#include "launcher/guest/base_image.hpp"
#include "launcher/guest/new_spec.hpp"
#include "launcher/host/linux_host.hpp"
#include "launcher/host/process.hpp"
#include "launcher/life/world.hpp"
#include "launcher/spec/profiles.hpp"
#include "launcher/text/printable.hpp"
#include "topology/sysfs.hpp"

namespace launcher::commands {

namespace fs = std::filesystem;
using topology::Bytes;
using topology::gib;

namespace {

// Whoever became root by sudo owns what is made in a directory of his.
void give_to_caller(int fd, const fs::path& path) {
  const char *uid = std::getenv("SUDO_UID"), *gid = std::getenv("SUDO_GID");
  struct stat directory {};
  if (geteuid() != 0 || uid == nullptr || gid == nullptr ||
      stat(fs::absolute(path).parent_path().c_str(), &directory) < 0)
    return;
  const auto owner = static_cast<uid_t>(std::strtoul(uid, nullptr, 10));
  if (directory.st_uid == owner && fchown(fd, owner, static_cast<gid_t>(std::strtoul(gid, nullptr, 10))) < 0)
    say(path.string() + " stays root's");
}

// Files that go again unless they are kept.
class Made {
 public:
  ~Made() {
    std::error_code none;
    for (const fs::path& path : paths_) fs::remove(path, none);
  }
  Fd make(const fs::path& path) {
    Fd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644));
    if (!fd && errno == EEXIST)
      throw UsageError(fmt::format("{} is there already, and nothing is overwritten: take another name, or remove it",
                                   printable(path.string())));
    if (!fd) refuse("make " + path.string());
    paths_.push_back(path);
    give_to_caller(fd.get(), path);
    return fd;
  }
  void keep() { paths_.clear(); }

 private:
  std::vector<fs::path> paths_;
};

void need_name(const std::string& name) {
  const bool good = !name.empty() && name.size() <= 63 && std::isalnum(static_cast<unsigned char>(name[0])) != 0 &&
                    std::ranges::all_of(
                        name, [](unsigned char c) { return std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-'; });
  if (!good)
    throw UsageError(fmt::format("'{}' can name no VM; wanted a letter or digit, then letters, digits, '.', '_', '-'",
                                 printable(name)));
  if (name.ends_with(".toml"))
    throw UsageError(
        fmt::format("'{}' is a spec's file; wanted the VM's name: {}", name, name.substr(0, name.size() - 5)));
}

Bytes size_of(const Options& options, const char* name, Bytes fallback) {
  const auto text = options.value(name);
  if (!text) return fallback;
  const auto size = topology::parse_bytes(*text);
  if (!size) throw UsageError(fmt::format("--{} {}: {}", name, printable(*text), size.error()));
  if (size->count < topology::mib(1).count)
    throw UsageError(
        fmt::format("--{0} {1}: that is {2} bytes; give the unit: --{0} {2}G", name, printable(*text), size->count));
  return *size;
}

unsigned cpus_of(const Options& options) {
  const auto text = options.value("cpus");
  if (!text) return fitting_cpus(std::thread::hardware_concurrency());
  unsigned count = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), count);
  if (error != std::errc{} || end != text->data() + text->size() || count == 0)
    throw UsageError(fmt::format("--cpus wants a number from 1 on, not '{}'", printable(*text)));
  return count;
}

Bytes available_memory() {
  std::istringstream lines(topology::Sysfs{}.read("/proc/meminfo").value_or(""));
  for (std::string line; std::getline(lines, line);)
    if (line.starts_with("MemAvailable:")) return topology::kib(std::strtoull(line.c_str() + 13, nullptr, 10));
  return gib(4);
}

// The public keys of a file; of a private key those of the file beside it.
std::vector<std::string> keys_of(const std::string& file) {
  const auto lines_of = [](const std::string& path) {
    if (const std::string why = misfit(path, {S_IFREG}); !why.empty()) throw UsageError("--ssh-key: " + why);
    std::ifstream in(path);
    std::vector<std::string> lines;
    for (std::string line; std::getline(in, line);)
      if (!line.empty() && line[0] != '#') lines.push_back(line);
    return lines;
  };
  std::vector<std::string> lines = lines_of(file);
  if (!lines.empty() && lines[0].find("PRIVATE KEY") != std::string::npos) lines = lines_of(file + ".pub");
  if (lines.empty()) throw UsageError(fmt::format("--ssh-key: '{}' has no public key", printable(file)));
  return lines;
}

// Whoever called for root by sudo.
std::string default_user() {
  for (const char* name : {"SUDO_USER", "USER"}) {
    const char* value = std::getenv(name);
    if (value != nullptr && std::string_view(value) != "root" && is_guest_user(value))
      return value;  // "DOMAIN\\ann" is none
  }
  return "vmrun";
}

unsigned free_port(const std::string& name) {
  constexpr unsigned first = 2200, count = 700;
  unsigned hash = 0;
  for (const unsigned char c : name) hash = hash * 31 + c;
  for (unsigned i = 0; i < count; ++i) {
    const unsigned port = first + (hash + i) % count;
    if (port_holder(false, "127.0.0.1", port).empty()) return port;
  }
  throw std::runtime_error("no port of 2200 to 2899 is free on 127.0.0.1");
}

NewVm asked(const Options& options) {
  NewVm vm;
  vm.name = options.word(0, "a name for the VM");
  need_name(vm.name);
  const bool windows = options.flag("windows");
  vm.emulated = windows && !options.value("drivers");
  vm.cpus = cpus_of(options);
  vm.memory = size_of(options, "memory", fitting_memory(available_memory(), windows));
  vm.profile = options.value("profile").value_or(windows ? "windows" : "");
  vm.disk = vm.name + ".qcow2";
  for (const char* name : {"iso", "drivers"})
    if (const auto file = options.value(name)) {
      if (const std::string why = misfit(*file, {S_IFREG}); !why.empty())
        throw UsageError(fmt::format("--{}: {}", name, why));
      vm.cds.push_back(fs::absolute(*file).lexically_normal());
    }
  vm.bridge = options.value("bridge").value_or("");
  // without a route to anywhere passt of Debian 12 ends at once
  vm.passt = find_program(host_config_or_throw(options).passt).has_value() && !default_routes().empty();
  vm.vsock = options.value("image") && look_at(Vsock{}).available;
  if (vm.bridge.empty()) vm.port = free_port(vm.name);
  vm.user = options.value("user").value_or(default_user());
  if (const auto file = options.value("ssh-key")) vm.ssh_keys = keys_of(*file);
  if (options.value("image").has_value() == options.value("iso").has_value())
    throw UsageError("wanted --image FILE (a disk that boots) or --iso FILE (an installer), one of them");
  return vm;
}

// The size is stated and the image below not opened: who may read it is seen when the VM starts.
void make_disk(const NewVm& vm, const std::string& format, Bytes size) {
  const auto program = find_program("qemu-img");
  if (!program) throw std::runtime_error("there is no qemu-img here; install it (Debian: apt install qemu-utils)");
  ChildSpec child;
  const std::string disk = fs::absolute(vm.disk);
  child.argv = {*program, "create", "-q", "-f", "qcow2"};
  if (!vm.image.empty()) child.argv.insert(child.argv.end(), {"-u", "-F", format, "-b", vm.image});
  child.argv.insert(child.argv.end(), {"--", disk, std::to_string(size.count)});
  const ProcessId process = host::spawn(child, {}, [](const ProcessId&) {});
  if (const int code = reap(process.pid); code != 0)
    throw std::runtime_error(fmt::format("qemu-img could not make {}: exit code {}", vm.disk, code));
}

void write_text(const Fd& fd, const std::string& text, const fs::path& path) {
  const ssize_t written = write(fd.get(), text.data(), text.size());
  if (written != static_cast<ssize_t>(text.size())) refuse("write " + path.string(), written < 0 ? errno : ENOSPC);
}

// Would it start here and now?
Problems problems_of(const SpecFile& file, const Options& options) {
  LinuxHost machine;
  World world = this_world(machine, host_config_or_throw(options));
  auto planned = plan_only(file.spec, world, Ledger::read);
  return planned ? Problems{} : std::move(planned.error());
}

int list_profiles(const Options& options) {
  std::string text;
  boost::json::array names;
  for (const Profile& profile : profiles()) {
    const std::string_view first = profile.text.substr(0, profile.text.find('\n'));
    const std::string words(first.substr(first.find_first_not_of("# ")));
    text += fmt::format("{:<12} {}\n", profile.name, words);
    names.push_back({{"name", boost::json::string(profile.name)}, {"for", words}});
  }
  options.flag("json") ? print_json(names) : print(text);
  return done;
}

void tell(const Options& options, const NewVm& vm, const fs::path& spec, Bytes size) {
  if (options.flag("json"))
    return print_json({{"name", vm.name}, {"spec", spec.string()}, {"disk", vm.disk}, {"size", size.count}});
  say(fmt::format("wrote {}, and {} ({}{})", spec.string(), vm.disk, to_string(size),
                  vm.image.empty() ? ", empty" : " on top of " + vm.image));
  if (!options.flag("start")) say(fmt::format("next: vmrun start {}", spec.string()));
  if (!vm.image.empty()) say(fmt::format("then: vmrun ssh {}", vm.name));
}

int start_it(const Options& options, const fs::path& spec) {
  if (!options.flag("start")) return done;
  std::vector<std::string> words{"start"};
  const Command* command = find_command(words);
  return command->run(Options::parse(command->options, command->words, {spec.string()}));
}

}  // namespace

int new_vm(const Options& options) {
  if (options.flag("list")) return list_profiles(options);
  NewVm vm = asked(options);
  std::string format;
  Bytes least{0};
  if (const auto file = options.value("image")) {
    const auto image = look_at_image(*file);
    if (!image) throw UsageError("--image: " + image.error());
    vm.image = image->path;
    format = image->format;
    least = {image->bytes};
  }
  const Bytes size = size_of(options, "size", std::max(least, gib(options.flag("windows") ? 64 : 20)));
  if (size < least)
    throw UsageError(fmt::format("--size {}: the image has {} already", to_string(size), to_string(least)));
  const fs::path spec = vm.name + ".toml";
  Made made;
  const Fd file = made.make(spec);
  made.make(vm.disk);
  make_disk(vm, format, size);
  write_text(file, new_spec(vm), spec);
  const auto read = read_spec(spec, {});
  const Problems found = read ? problems_of(*read, options) : read.error().problems;
  if (!found.empty()) {
    print_problems(found,
                   read                    ? &read->document
                   : read.error().document ? &*read.error().document
                                           : nullptr,
                   options.flag("json"));
    say("nothing was written");
    return problems;
  }
  made.keep();
  tell(options, vm, spec, size);
  return start_it(options, spec);
}

}  // namespace launcher::commands
