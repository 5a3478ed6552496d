// See share.hpp. Two programs are called virtiofsd: QEMU's own up to 7.2 (options as -o a=b,c=d) and the later one in Rust.
#include "launcher/devices/share.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <filesystem>
#include <stdexcept>
#include <vector>

#include "launcher/devices/device_context.hpp"
#include "launcher/facts/host_config.hpp"
#include "launcher/facts/path_look.hpp"
#include "launcher/facts/qemu_features.hpp"
#include "launcher/host/fd.hpp"
#include "launcher/host/process.hpp"
#include "launcher/steps/run_base.hpp"
#include "launcher/text/printable.hpp"
#include "launcher/text/toml_reader.hpp"

namespace launcher::inline devices {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t longest_tag = 36;
constexpr unsigned least_ring = 4, most_ring = 1024;  // VIRTQUEUE_MAX_SIZE in QEMU

// What the guest's root makes in the directory lies in the host's, too, where it means what it says.
// Without fsetid what it writes to loses its setuid bit; that it sets none, the helper's filter sees to.
constexpr const char* no_special_files = "-mknod:-setfcap:-fsetid";

void check_tag(TableReader& table, const std::string& tag) {
  if (tag.size() > longest_tag)
    table.problem("tag",
                  fmt::format("{} bytes long; wanted at most {}, which is all that virtiofs passes to the guest",
                              tag.size(), longest_tag),
                  "shorten it");
  for (unsigned char byte : tag)
    if (byte <= 0x20 || byte >= 0x7f) {
      table.problem("tag", fmt::format("contains the byte 0x{:02x}; wanted printable ASCII without blanks", byte),
                    "use letters, digits and punctuation only: the guest names it in `mount -t virtiofs TAG DIR`");
      return;
    }
}

// Where Debian and Fedora have it (libexec: the one in Rust), else in PATH.
std::string find_virtiofsd(const HostConfig& config) {
  if (config.virtiofsd) return *config.virtiofsd;
  for (const char* place : {"/usr/libexec/virtiofsd", "/usr/lib/qemu/virtiofsd", "/usr/lib/virtiofsd"})
    if (access(place, X_OK) == 0) return place;
  return find_qemu("virtiofsd").value_or("");
}

// What a program says of itself.
std::string help_of(const std::string& program) {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) < 0) return {};
  const Fd ours(ends[0]), null(open("/dev/null", O_RDONLY | O_CLOEXEC));
  Fd its(ends[1]);
  std::string text;
  try {
    ChildSpec child;
    child.argv = {program, "--help"};
    const ProcessId process = spawn(child, {{0, null.get()}, {1, its.get()}, {2, its.get()}}, [](const ProcessId&) {});
    its.reset();
    std::array<char, 4096> part{};
    for (ssize_t got = 0; (got = read(ours.get(), part.data(), part.size())) > 0;)
      text.append(part.data(), static_cast<std::size_t>(got));
    reap(process.pid);
  } catch (const std::exception&) {
    text.clear();  // not a program
  }
  return text;
}

// Within one value of the earlier program's -o: its parser takes a comma for the next option, and a backslash for an escape.
std::string escaped(const std::string& text) {
  std::string out;
  for (char c : text) {
    if (c == ',' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

// Of vmrun's own directories the one that holds this one, or lies in it; "": none.
std::string own_place_at(const std::string& path, const HostConfig& config) {
  const auto real = [](const fs::path& named) {
    std::error_code closed;  // to this user: then by its name
    const fs::path found = fs::weakly_canonical(named, closed);
    return closed ? named.lexically_normal() : found;
  };
  const fs::path shared = real(path);
  for (const fs::path& own : {run_base(), fs::path(state_base(config))}) {
    const fs::path place = real(own);
    const auto [in_shared, in_place] = std::mismatch(shared.begin(), shared.end(), place.begin(), place.end());
    if (in_shared == shared.end() || in_place == place.end()) return own;
  }
  return {};
}

std::vector<std::string> command_of(const Share& share, const Share::Facts& facts, int fd) {
  constexpr const char* rust_words[] = {"auto", "always", "metadata", "never"};
  constexpr const char* old_words[] = {"auto", "always", "", "none"};
  const auto cache = static_cast<std::size_t>(share.cache);
  std::vector<std::string> argv{facts.virtiofsd, fmt::format("--fd={}", fd)};
  if (facts.rust) {
    argv.insert(argv.end(),
                {"--shared-dir=" + share.path, fmt::format("--cache={}", rust_words[cache]), "--sandbox=namespace"});
    if (!share.special_files) argv.emplace_back(fmt::format("--modcaps={}", no_special_files));
    if (share.read_only) argv.emplace_back("--readonly");
  } else {
    argv.insert(argv.end(),
                {"-f", "-o",
                 fmt::format("source={},cache={},sandbox=namespace{}", escaped(share.path), old_words[cache],
                             share.special_files ? "" : fmt::format(",modcaps={}", no_special_files))});
  }
  return argv;
}

void check(const Share& share, const Share::Facts& facts, const DeviceContext& context) {
  if (!facts.misfit.empty())
    context.problem("path", facts.misfit + "; wanted a directory to share", "make it, or correct the path");
  if (!facts.ours.empty())
    context.problem(
        "path",
        fmt::format("'{}' and '{}', where vmrun keeps what it believes of its VMs, lie within each other, and "
                    "the guest's root could write there; wanted a directory apart from it",
                    printable(share.path), printable(facts.ours)),
        "share another directory, or set read_only = true");
  if (!context.qemu.has("vhost-user-fs-pci"))
    context.problem("tag", fmt::format("QEMU {} was built without virtiofs", context.qemu.version),
                    "remove [[share]], or set another qemu in /etc/vmrun/host.toml");
  if (facts.virtiofsd.empty() || !facts.why.empty()) {
    context.problem("path", facts.virtiofsd.empty() ? "there is no virtiofsd on this host to serve it" : facts.why,
                    "install it (Debian 12: qemu-system-common; later: virtiofsd), or set virtiofsd in "
                    "/etc/vmrun/host.toml");
    return;
  }
  if (share.read_only && !facts.knows_readonly)
    context.problem("read_only", fmt::format("{} cannot serve a directory read-only", facts.virtiofsd),
                    "install a virtiofsd that has --readonly, or share a read-only mount and remove read_only");
  if (share.cache == Share::Cache::metadata && !facts.rust)
    context.problem("cache", fmt::format("\"metadata\" is not known to {}", facts.virtiofsd),
                    "set cache = \"auto\", \"always\" or \"never\"");
  if (!facts.rust && !context.root)
    context.problem("path", fmt::format("{} needs root for its sandbox", facts.virtiofsd),
                    "run vmrun as root, or install the later virtiofsd");
}

}  // namespace

Share Share::read(TableReader& table) {
  Share share;
  share.path = table.path("path", true);
  share.tag = table.required_text("tag");
  share.read_only = table.flag("read_only", false);
  share.cache = static_cast<Cache>(table.choice("cache", {"auto", "always", "metadata", "never"}, 0));
  share.special_files = table.flag("special_files", false);
  share.queue_size = table.integer_or_auto("queue_size", least_ring, most_ring);
  check_tag(table, share.tag);
  if (share.queue_size && !std::has_single_bit(*share.queue_size))
    table.problem("queue_size", fmt::format("{} is no power of two; wanted one", *share.queue_size),
                  fmt::format("set queue_size = {}", std::bit_floor(*share.queue_size)));
  return share;
}

Share::Facts look_at(const Share& share, const HostConfig& config) {
  Share::Facts facts;
  facts.misfit = misfit(share.path, {S_IFDIR}, R_OK | X_OK);
  if (!share.read_only && facts.misfit.empty()) facts.ours = own_place_at(share.path, config);
  facts.virtiofsd = find_virtiofsd(config);
  if (facts.virtiofsd.empty()) return facts;
  if (facts.why = misfit(facts.virtiofsd, {S_IFREG}, X_OK); !facts.why.empty()) {
    facts.why += "; wanted the program virtiofsd";
    return facts;
  }
  const std::string help = help_of(facts.virtiofsd);
  facts.rust = help.find("--shared-dir") != help.npos;
  facts.knows_readonly = help.find("--readonly") != help.npos;
  if (!facts.rust && help.find("source=") == help.npos)
    facts.why = fmt::format("'{}' does not say how it is used; wanted virtiofsd", facts.virtiofsd);
  return facts;
}

Share::Facts assumed(const Share&) { return {.misfit = {}, .virtiofsd = "/usr/libexec/virtiofsd", .why = {}}; }

DeviceNeeds needs(const Share&, const Share::Facts&, unsigned) {
  DeviceNeeds needs;
  needs.shared_memory = true;
  return needs;
}

void plan_device(const Share& share, const Share::Facts& facts, DeviceContext& context) {
  const std::size_t problems = context.problems.size();
  check(share, facts, context);
  if (context.problems.size() > problems) return;
  const std::string id = fmt::format("share{}", context.index);
  const std::string socket = fmt::format("{}/{}.sock", context.run_dir, id);
  const int fd = context.fds.take(id);
  context.steps.push_back({Listen{socket, fd, true}, "QEMU connects to its virtiofsd here", context.origin("path")});
  constexpr int first_free = 3;
  StartHelper helper{.role = "virtiofsd " + id, .child = {}, .fds = {{first_free, fd}}, .log = {}};
  helper.log = fmt::format("{}/helper-virtiofsd-{}.log", context.run_dir, id);
  helper.child.argv = command_of(share, facts, first_free);
  helper.child.affinity = context.placement.emulator;
  helper.child.no_set_id_files = !share.special_files;
  context.steps.push_back(
      {helper, "serves the directory, in a sandbox that holds nothing else", context.origin("path")});
  context.args.add("-chardev", Opts("socket").set("id", id).set("path", socket), "the line to virtiofsd",
                   context.origin("path"));
  Opts device("vhost-user-fs-pci");
  device.set("id", id).set("chardev", id).set("tag", share.tag);
  context.set_address(device);
  if (share.queue_size) device.set("queue-size", *share.queue_size);
  context.args.add("-device", device, "the guest mounts it by its tag", context.origin("tag"));
}

}  // namespace launcher::devices
