// See set_cdrom.hpp. The rule: QEMU gets the open file, not the path, which its user could not open; what was in the drive is let go.
#include "launcher/commands/set_cdrom.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <filesystem>

#include "launcher/commands/options.hpp"
#include "launcher/commands/reach.hpp"
#include "launcher/facts/path_look.hpp"
#include "launcher/host/fd.hpp"
#include "launcher/text/printable.hpp"
#include "qmp/fd_passing.hpp"

namespace launcher::commands {

namespace {

boost::json::value ask(::qmp::Client& client, const char* name, boost::json::object arguments) {
  ::qmp::Command command{name};
  command.arguments = std::move(arguments);
  return client.execute(command, patience);
}

// The block node of what is in the drive; "": nothing. Throws where there is no such drive.
std::string medium_of(::qmp::Client& client, const std::string& id, const std::string& vm) {
  const boost::json::value drives = ask(client, "query-block", {});
  for (const boost::json::value& drive : drives.as_array()) {
    const boost::json::object& one = drive.as_object();
    const boost::json::value* qdev = one.if_contains("qdev");
    if (qdev == nullptr || !qdev->is_string()) continue;
    const std::string path(qdev->get_string());
    if (path != id && !path.ends_with("/" + id)) continue;
    const boost::json::value* inserted = one.if_contains("inserted");
    return inserted == nullptr ? "" : std::string(inserted->at("node-name").as_string());
  }
  throw UsageError(fmt::format("VM {} has no {}: its spec has too few [[cdrom]]", vm, id));
}

// A block node of that file; its name.
std::string add_node(::qmp::Client& client, const std::string& id, const std::string& file) {
  if (const std::string why = misfit(file, {S_IFREG, S_IFBLK}); !why.empty()) throw UsageError(why);
  const Fd fd = opened_or_refuse(open(file.c_str(), O_RDONLY | O_CLOEXEC), "open " + file);
  struct stat info {};
  if (fstat(fd.get(), &info) < 0) refuse("stat " + file);
  ::qmp::pass_fd(client.fd(), fd.get());
  const boost::json::value set =
      ask(client, "add-fd", {{"opaque", printable(std::filesystem::absolute(file).string())}});
  const std::int64_t number = set.at("fdset-id").to_number<std::int64_t>();
  const std::string node = fmt::format("{}-medium{}", id, number);
  ask(client, "blockdev-add",
      {{"driver", S_ISBLK(info.st_mode) ? "host_device" : "file"},
       {"node-name", node},
       {"filename", fmt::format("/dev/fdset/{}", number)},
       {"read-only", true}});
  return node;
}

}  // namespace

bool is_cdrom_key(const std::string& key) {
  return key.starts_with("cdrom[") && key.ends_with("]") && key.size() == 8 && key[6] >= '0' && key[6] <= '5';
}

void set_cdrom(::qmp::Client& client, const VmDir& dir, const std::string& key, const std::string& file) {
  const std::string id = fmt::format("cdrom{}", key[6]);
  const std::string before = medium_of(client, id, dir.name());
  const std::string next = file.empty() ? "" : add_node(client, id, file);
  ask(client, "blockdev-open-tray", {{"id", id}, {"force", true}});
  ask(client, "blockdev-remove-medium", {{"id", id}});
  if (!before.empty()) ask(client, "blockdev-del", {{"node-name", before}});
  if (!next.empty()) ask(client, "blockdev-insert-medium", {{"id", id}, {"node-name", next}});
  ask(client, "blockdev-close-tray", {{"id", id}});
}

}  // namespace launcher::commands
